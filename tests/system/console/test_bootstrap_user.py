"""`bootstrap.sh --user`, typed by an ordinary user: what it writes, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.console.ordinary_user import UID, as_user, make_home
from tests.system.privileges import needs_other_users

pytestmark = needs_other_users

ROOT = Path(__file__).parents[3]
# A bootstrap that ends before it installs anything: the prefix is another program's.
FOREIGN = "was not made by this script"
PLACE = ".local/share/hoverboard"
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter, with a checkout and the home folder of an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as name:
        made = Path(name)
        made.chmod(0o755)
        checkout = made / "checkout"
        checkout.mkdir()
        for file in ("bootstrap.sh", "setup.cfg", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / file, checkout)
        shutil.copytree(ROOT / "bootstrap", checkout / "bootstrap")
        for package in ("hoverboard", "controllers", "topologies", "experiments", "console", "benchmarks"):
            (checkout / package).mkdir()
            (checkout / package / "__init__.py").touch()
        make_home(made / "home")
        yield made


def bootstrap(folder: Path, *words: str, home: Path | None = None, root_first: str = "", **variables: str) -> Done:
    argv = [folder / "checkout/bootstrap.sh", *words]
    return as_user(argv, home=home or folder / "home", root_first=root_first, **variables)


def foreign(folder: Path, *words: str, **variables: str) -> str:
    """What `demo --user` says until it meets a prefix of another program."""
    place = folder / "home" / PLACE / "venv"
    place.mkdir(parents=True, exist_ok=True)
    for path in (place, *place.parents):
        if path.is_relative_to(folder / "home"):
            os.chown(path, UID, UID)
    done = bootstrap(folder, *(words or ("demo", "--user")), **variables)
    assert FOREIGN in done.stderr, done.stderr
    return done.stderr


def error(done: Done) -> str:
    """The one line of an error."""
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("bootstrap: warning: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


# -- whose way is which ---------------------------------------------------------------------------------


def test_without_root_and_without_user_both_ways_are_told(folder: Path) -> None:
    done = bootstrap(folder, "demo")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "bootstrap: error: this needs root, or --user.",
        "  an administrator, for all users: sudo ./bootstrap.sh demo",
        "  for yourself alone, without root: ./bootstrap.sh demo --user",
    ]


@pytest.mark.parametrize(("words", "told"), [
    (("uninstall",), "./bootstrap.sh uninstall --user"), (("packages", "--ha"), "sudo ./bootstrap.sh packages --ha"),
])  # fmt: skip
def test_what_needs_root_says_so(folder: Path, words: tuple[str, ...], told: str) -> None:
    assert told in error(bootstrap(folder, *words))


def test_root_needs_no_user(folder: Path) -> None:
    done = subprocess.run(
        [folder / "checkout/bootstrap.sh", "demo", "--user"], capture_output=True, text=True, timeout=30, check=False
    )
    assert "you are root; call it without --user" in error(done)


@pytest.mark.parametrize("words", [
    (), ("--user",), ("demo", "test"), ("demo", "--other"), ("uninstall", "--user", "--ha"), ("packages", "--user"),
])  # fmt: skip
def test_wrong_words_show_the_usage(folder: Path, words: tuple[str, ...]) -> None:
    done = bootstrap(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: sudo ./bootstrap.sh demo|test")


def test_help_is_no_error(folder: Path) -> None:
    done = bootstrap(folder, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "~/.local/share/hoverboard" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_order_of_words_does_not_matter(folder: Path) -> None:
    foreign(folder, "--user", "demo")


# -- places ---------------------------------------------------------------------------------------------


def test_all_that_it_writes_is_the_users_alone_and_at_home(folder: Path) -> None:
    foreign(folder)
    home = folder / "home"
    made = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert made == {".local/state/hoverboard/bootstrap.log", ".local/state/hoverboard/bootstrap.lock"}
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in made} == {0o600}
    assert stat.S_IMODE((home / ".local/state").stat().st_mode) == 0o700


def test_the_folders_of_the_xdg_specification_count(folder: Path) -> None:
    home = folder / "home"
    make_home(home / "data")
    make_home(home / "data/hoverboard")
    make_home(home / "data/hoverboard/venv")
    done = bootstrap(folder, "demo", "--user", XDG_DATA_HOME=str(home / "data"), XDG_STATE_HOME=str(home / "state"))
    assert f"{home}/data/hoverboard/venv {FOREIGN}" in done.stderr
    assert (home / "state/hoverboard/bootstrap.log").exists()
    assert not (home / ".local").exists()
    foreign(folder, XDG_DATA_HOME="data", XDG_STATE_HOME="state")  # relative ones do not


def test_a_checkout_that_another_can_write(folder: Path) -> None:
    own = f"other users can write {folder}/checkout"  # pytest's folder is below /tmp, of which it warns as well
    assert own not in foreign(folder)
    (folder / "checkout/console/__init__.py").chmod(0o666)
    assert "whoever does is you at the next 'hoverboard'" in foreign(folder)
    (folder / "checkout/console/__init__.py").chmod(0o644)
    os.chown(folder / "checkout/console", 12345, 12345)
    assert f"other users can write {folder}/checkout/console: whoever does is you" in foreign(folder)
    os.chown(folder / "checkout/console", UID, UID)
    assert own not in foreign(folder)


# -- what is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["constraints.txt", "hoverboard/__init__.py", "topologies"])
def test_a_checkout_that_cannot_be_read(folder: Path, file: str) -> None:
    (folder / "checkout" / file).chmod(0o600)
    said = error(bootstrap(folder, "demo", "--user"))
    assert f"you cannot read {folder}/checkout/{file}; ask its owner for: chmod -R go+rX" in said


def test_a_home_that_is_not_there(folder: Path) -> None:
    assert "/nowhere does not exist" in error(bootstrap(folder, "demo", "--user", home=Path("/nowhere")))


def test_no_home_at_all(folder: Path) -> None:
    done = as_user([folder / "checkout/bootstrap.sh", "demo", "--user"])
    assert "HOME is not set" in error(done)


def test_a_home_that_cannot_be_written(folder: Path) -> None:
    os.chown(folder / "home", 0, 0)
    (folder / "home").chmod(0o755)
    assert f"you cannot write {folder}/home, where" in error(bootstrap(folder, "demo", "--user"))


@pytest.mark.parametrize(("options", "told"), [
    ("ro,size=3g", "you cannot write {}/home"), ("size=9m", "no space: 9 MB free at {}/home"),
    ("noexec,size=3g", "no program can be executed in {}/home/.local/share/hoverboard (is it mounted noexec?)"),
])  # fmt: skip
def test_a_home_on_a_disk_that_does_not_do(folder: Path, options: str, told: str) -> None:
    mount = f"mount -t tmpfs -o mode=700,uid={UID},gid={UID},{options} none {folder}/home"
    done = bootstrap(folder, "demo", "--user", root_first=mount)
    assert told.format(folder) in error(done)


def test_a_file_in_place_of_a_folder(folder: Path) -> None:
    (folder / "home/.local").touch()
    assert f"{folder}/home/.local is a file" in error(bootstrap(folder, "demo", "--user"))


# -- functions of bootstrap/user.sh by themselves --------------------------------------------------------


def function(folder: Path, call: str, *stubs: str, home: bool = True) -> Done:
    """Call functions of it as the user, with others replaced."""
    lines = [
        "set -Eeuo pipefail", f"CHECKOUT={folder}/checkout user=--user mode=demo ha= LOG=/dev/null",
        *(f"{name}() {{ printf 'bootstrap: %s: %s\\n' {name} \"$*\" >&2; }}" for name in ("warn", "report")),
        'die() { printf "bootstrap: error: %s\\n" "$*" >&2; exit 1; }', "need_space() { :; }",
        f". {folder}/checkout/bootstrap/user.sh", *stubs, call,
    ]  # fmt: skip
    return as_user(["bash", "-c", "\n".join(lines)], home=folder / "home")


NO_PACKAGES = "missing_packages() { printf 'mininet\\netcd-server\\n'; }"


def test_missing_packages_are_named_with_the_administrators_command(folder: Path) -> None:
    done = function(folder, "choose_places_of_user; check_user", NO_PACKAGES)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "bootstrap: error: these Debian packages are missing: mininet etcd-server",
        "  an administrator types: sudo ./bootstrap.sh packages --ha (starts no service)",
        "  or, which starts their services: sudo apt-get install --no-install-recommends mininet etcd-server",
    ]


def test_both_ways_name_missing_packages(folder: Path) -> None:
    done = function(folder, "tell_both_ways", NO_PACKAGES, "check_release() { :; }")
    last = done.stderr.splitlines()[-1]
    assert last.endswith(
        "--user, after an administrator has typed: sudo ./bootstrap.sh packages --ha (installs mininet etcd-server)"
    )


@pytest.mark.parametrize(("kind", "warned"), [("nfs", True), ("fuseblk", True), ("ext2/ext3", False), ("tmpfs", False)])
def test_a_network_file_system_is_warned_of(folder: Path, kind: str, warned: bool) -> None:
    stubs = ("missing_packages() { :; }", f"file_system() {{ echo {kind}; }}")
    done = function(folder, "choose_places_of_user; check_user", *stubs)
    assert done.returncode == 0, done.stderr
    assert ("is on a network file system" in done.stderr) is warned


@pytest.mark.parametrize(("path", "lines"), [
    ("{home}/.local/bin:/usr/bin:/bin", 0), ("/usr/bin:/bin", 1), ("{other}:{home}/.local/bin:/bin", 2),
])  # fmt: skip
def test_how_to_find_the_command(folder: Path, path: str, lines: int) -> None:
    for place in (folder / "home/.local/bin", folder / "other"):
        place.mkdir(parents=True)
        (place / "hoverboard").write_text("#!/bin/sh\n")
        (place / "hoverboard").chmod(0o755)
    typed = path.format(home=folder / "home", other=folder / "other")
    done = function(folder, f"choose_places_of_user; TYPED_PATH={typed}; tell_path")
    said = done.stderr.splitlines()
    assert len(said) == lines, said
    if lines:
        assert f'export PATH="{folder}/home/.local/bin:$PATH"' in said[-1]
    if lines == 2:
        assert said[0].endswith(f"is another one: {folder}/other/hoverboard")


def test_a_checkout_that_only_root_can_read_is_told(folder: Path) -> None:
    assert function(folder, "tell_readers").stderr == ""
    folder.chmod(0o700)
    script = f"""
    CHECKOUT={folder}/checkout
    report() {{ echo "$*"; }}
    . {folder}/checkout/bootstrap/user.sh
    tell_readers"""
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True).stdout
    assert said.startswith(f"other users cannot read {folder}, so `hoverboard` is not for them")


# -- installed, and removed -----------------------------------------------------------------------------


def test_an_installation_of_roots_can_be_read_by_all_and_written_by_none() -> None:
    prefix = Path(sys.prefix)
    if prefix.stat().st_uid != 0:
        pytest.skip("this environment is not root's")
    wrong = []
    for place, folders, files in os.walk(prefix):
        for name in (*folders, *files):
            path = Path(place, name)
            # A draft in the cache gets its name when it is whole. Another state's cache may be older than this rule.
            if name.startswith(".") or path.is_symlink() or path.is_relative_to(prefix / "numba-cache"):
                continue
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                continue
            readable = 0o5 if stat.S_ISDIR(mode) else 0o4
            if mode & readable != readable or mode & 0o022:
                wrong.append((str(path), oct(mode)))
    assert wrong == []


def test_uninstall_removes_what_is_the_users_own(folder: Path) -> None:
    home = folder / "home"
    prefix, commands = home / PLACE, home / ".local/bin"
    for place in (prefix / "venv/bin", prefix / "bin", commands):
        place.mkdir(parents=True)
    for name in ("made-by-bootstrap", "installed", "compiled"):
        (prefix / name).write_text("x\n")
    (commands / "hoverboard").write_text(
        f'#!/bin/sh\nexec "{prefix}/venv/bin/python" -I "{prefix}/venv/bin/hoverboard" "$@"\n'
    )
    (commands / "other").touch()
    for path in (home, *home.rglob("*")):
        os.chown(path, UID, UID)
    run = make_home(home / "run")
    (make_home(run / "hoverboard") / "a").mkdir()
    (run / "hoverboard/a/ledger.jsonl").touch()
    done = bootstrap(folder, "uninstall", "--user", XDG_RUNTIME_DIR=str(run))
    assert error(done).endswith("end it first: hoverboard down --all")
    done = bootstrap(folder, "uninstall", "--user")
    assert (done.returncode, done.stderr) == (0, "")
    assert "apt-get" not in done.stdout
    assert "Debian" not in done.stdout
    assert not prefix.exists()
    assert os.listdir(commands) == ["other"]
    done = bootstrap(folder, "uninstall", "--user")
    assert f"there is no {prefix}" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_user_installs_repeats_and_removes(folder: Path) -> None:
    shutil.rmtree(folder / "checkout")
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "checkout"], check=True, timeout=60)
    subprocess.run(["chmod", "-R", "a-w,go+rX", folder / "checkout"], check=True, timeout=60)
    before = set(_of_user(folder / "home"))
    argv = [folder / "checkout/bootstrap.sh", "demo", "--user"]
    home = folder / "home"
    done = as_user(argv, home=home, seconds=1500)
    assert done.returncode == 0, done.stderr
    assert f'export PATH="{home}/.local/bin:$PATH"' in done.stdout
    assert set(_of_user(folder / "home")) == before, "something was written outside of the home folder"
    # pip makes libraries executable for all, and the compiled code can be read; but no one else can enter the folder.
    files = [path for path in home.rglob("*") if not path.is_symlink() and "numba-cache" not in path.parts]
    assert [path for path in files if path.stat().st_mode & 0o066] == []
    assert stat.S_IMODE((home / PLACE).stat().st_mode) == 0o700
    tops = {"/".join(path.relative_to(home).parts[:3]) for path in home.rglob("*") if path.is_file()}
    assert tops == {PLACE, ".local/state/hoverboard", ".local/bin/hoverboard"}
    compiled = sorted((home / PLACE / "venv/numba-cache").rglob("*.nbc"))
    assert compiled
    done = as_user([home / ".local/bin/hoverboard", "--version"], home=home)
    assert done.returncode == 0, done.stderr
    done = as_user(argv, home=home, seconds=300)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "ing " in line and "ready" not in line] == []
    assert sorted((home / PLACE / "venv/numba-cache").rglob("*.nbc")) == compiled
    done = as_user([*argv[:1], "uninstall", "--user"], home=home)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in home.rglob("*") if path.is_file()} == {"bootstrap.log", "bootstrap.lock"}


def _of_user(home: Path) -> Iterator[str]:
    """The user's files in places that every user can write, but for its home folder."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run"):
        for path in Path(place).iterdir():
            if path.lstat().st_uid == UID and path != home:
                yield str(path)
