"""bootstrap.sh as root: its lock, whose settings count, and who else can write what it installs."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.system.privileges import needs_other_users, needs_owners

ROOT = Path(__file__).parents[3]
STUDENT, STRANGER = "23456", 12345
# A bootstrap that ends before it touches anything: the prefix is another program's.
FOREIGN = "was not made by this script"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of root's, in a folder that only root can write, as far as the test can know."""
    made = tmp_path / "checkout"
    made.mkdir()
    shutil.copy(ROOT / "bootstrap.sh", made)
    shutil.copytree(ROOT / "bootstrap", made / "bootstrap")
    (tmp_path / "prefix/venv").mkdir(parents=True)
    return made


def bootstrap(checkout: Path, ends: str = FOREIGN, **variables: str) -> str:
    """The output of `bootstrap.sh demo`, which ends early."""
    home = checkout.parent
    names = ("prefix", "bin", "log", "lock")
    places = {f"HOVERBOARD_{name.upper()}": f"{home}/{name}" for name in names}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")}
    done = subprocess.run(
        [checkout / "bootstrap.sh", "demo"], env=kept | places | variables, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert ends in done.stderr
    return done.stderr


def warnings(checkout: Path, **variables: str) -> list[str]:
    """Its warnings about the checkout itself; pytest's folder is below /tmp, of which it warns as well."""
    said = [line for line in bootstrap(checkout, **variables).splitlines() if "warning" in line]
    return [line for line in said if not line.startswith(f"bootstrap: warning: {checkout} is below /tmp,")]


def test_the_lock_is_for_root_alone(checkout: Path) -> None:
    lock = checkout.parent / "lock"
    bootstrap(checkout)
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    lock.chmod(0o644)
    bootstrap(checkout)
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_a_second_bootstrap_waits_for_no_one(checkout: Path) -> None:
    with (checkout.parent / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another bootstrap runs" in bootstrap(checkout, ends="another bootstrap")


@needs_owners
def test_a_checkout_of_root_alone_is_no_reason_to_warn(checkout: Path) -> None:
    assert warnings(checkout) == []


@needs_owners
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_checkout_that_all_can_write(checkout: Path, mode: int) -> None:
    checkout.chmod(mode)
    assert [f"other users can write {checkout}:" in line for line in warnings(checkout)] == [True]


@needs_other_users
def test_a_file_that_others_can_write(checkout: Path) -> None:
    file = checkout / "folder" / "module.py"
    file.parent.mkdir()
    file.write_text("")
    for spoil in (lambda: file.chmod(0o646), lambda: (file.chmod(0o644), os.chown(file, STRANGER, 0))):
        spoil()
        (line,) = warnings(checkout)
        assert f"other users can write {file}:" in line
    assert warnings(checkout, SUDO_UID=str(STRANGER), SUDO_GID="0") == []


@needs_other_users
def test_the_group_of_who_called_sudo_may_write(checkout: Path) -> None:
    os.chown(checkout, int(STUDENT), int(STUDENT))
    checkout.chmod(0o775)
    assert warnings(checkout, SUDO_UID=STUDENT, SUDO_GID=STUDENT) == []
    assert len(warnings(checkout, SUDO_UID=STUDENT, SUDO_GID="1")) == 1
    assert len(warnings(checkout)) == 1


@needs_owners
def test_a_folder_above_that_others_can_write(checkout: Path) -> None:
    checkout.parent.chmod(0o1777)
    (line,) = warnings(checkout)
    assert f"{checkout} is below {checkout.parent}, which other users can write" in line
    assert any(f"{checkout} is below /tmp, which" in line for line in bootstrap(checkout).splitlines())


@needs_owners
def test_a_symbolic_link_is_nothing_that_others_can_write(checkout: Path) -> None:
    (checkout / "link").symlink_to("bootstrap.sh")
    assert warnings(checkout) == []


@pytest.mark.parametrize("user", ["", "--user"])
def test_settings_of_the_caller_do_not_reach_pip(tmp_path: Path, user: str) -> None:
    """Every variable and file of the caller's that pip reads, through bootstrap's own lines."""
    text = (ROOT / "bootstrap.sh").read_text()
    begin, end = text.index("# What the machine and root have configured"), text.index('if [ "$mode" = uninstall ]')
    script = f"set -u\nuser={user}\nPIP_SECONDS=1200 PYTHON=/usr/bin/python3\n{text[begin:end]}\nenv; pwd\n"
    theirs = {
        "PIP_INDEX_URL": "http://x", "PIP_EXTRA_INDEX_URL": "http://x", "PIP_FIND_LINKS": "/x", "PIP_TRUSTED_HOST": "x",
        "PIP_CONFIG_FILE": "/x", "PIP_NO_BINARY": "x", "PIP_TARGET": "/x", "PYTHONPATH": "/x", "PYTHONHOME": "/x",
        "PYTHONSTARTUP": "/x", "PYTHONUSERBASE": "/x", "XDG_CONFIG_HOME": "/x", "XDG_CONFIG_DIRS": "/x", "HOME": "/x",
        "NUMBA_CACHE_DIR": "/x", "VIRTUAL_ENV": "/x",
    }  # fmt: skip
    kept = {"PIP_CERT": "/c", "PIP_PROXY": "http://p", "https_proxy": "http://p", "SSL_CERT_FILE": "/c"}
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": os.environ["PATH"]} | theirs | kept, cwd=tmp_path, capture_output=True,
        text=True, timeout=30, check=True,
    )  # fmt: skip
    *lines, place = done.stdout.splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert place == "/"
    assert (found["HOME"] == "/x") is bool(user), "a user has a home of its own, and root has root's"
    assert {name: found[name] for name in theirs if name in found} == {"HOME": found["HOME"]}
    assert {name: found.get(name) for name in kept} == kept


@pytest.mark.parametrize(("part", "has", "lacks"), [
    ("demo", "numpy==", "pytest=="), ("test", "pytest==", "nothing"), ("setuptools", "setuptools==", "numpy=="),
])  # fmt: skip
def test_the_parts_of_the_packages(part: str, has: str, lacks: str) -> None:
    text = (ROOT / "bootstrap.sh").read_text()
    function = text[text.index("packages_of() {") : text.index("make_environment() {")]
    tests = next(line for line in text.splitlines() if line.startswith("TESTS="))
    script = f"CHECKOUT={ROOT}\n{tests}\n{function}\npackages_of {part}\n"
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True).stdout
    assert has in said
    assert lacks not in said
    assert not said.rstrip("\n").endswith("\\"), "a hash is cut off"
    assert "--hash=sha256:" in said
