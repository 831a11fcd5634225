"""The compiled fast path of an ordinary user, in user namespaces: found where root left it, else compiled once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.console.ordinary_user import IN_NAMESPACES, UID, as_user, make_home
from tests.system.privileges import needs_other_users

pytestmark = needs_other_users

ROOT = Path(__file__).parents[3]
SHARED = Path(sys.prefix, "numba-cache")
# Counts what is compiled. A person starts all engines, with debug elements and without.
ENGINES = """
from hoverboard.fastpath.compiled import compile_events
from hoverboard.fastpath.engine import warm
names = []
compile_events.on_compile(names.append)
warm.warm()
warm.warm_debug()
print(len(names))
"""
# A small function, for what would take a minute with the engines.
SMALL = """
from hoverboard.fastpath.compiled import compile_events
from hoverboard.fastpath.compiled.compiler import compiled
names = []
compile_events.on_compile(names.append)
space = {"__name__": "__main__"}
exec(compile("def f(a):\\n    return a + a\\n", "<hoverboard.fastpath>/composed/small.py", "exec"), space)
assert compiled(space["f"])(4) == 8
print(len(names))
"""
# What enters the namespaces judges before.
JUDGING = f"""
import os, sys
from hoverboard.fastpath.compiled.trust import judge
judge(os.environ)
os.execvp("{IN_NAMESPACES[0]}", [*{IN_NAMESPACES!r}, *sys.argv[1:]])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as name:
        made = Path(name)
        made.chmod(0o755)
        make_home(made / "home")
        make_home(made / "tmp")
        (made / "empty").mkdir()
        yield made


def start(folder: Path, program: str, *, home: str = "home", root_first: str = "", judged: bool = False,
          **variables: str) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a program as a user in namespaces of its own, with /tmp/... of the test's own."""
    python = [sys.executable, "-P", "-s", "-c", program]
    argv = [*python[:-1], JUDGING, *python] if judged else [*IN_NAMESPACES, *python]
    return as_user(
        argv, home=folder / home, root_first=root_first, seconds=280, PYTHONPATH=str(ROOT),
        TMPDIR=str(folder / "tmp"), PYTHONDONTWRITEBYTECODE="1", **variables,
    )  # fmt: skip


def compiled(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture
def nothing_shared(folder: Path) -> str:
    """What root does so that nothing is compiled for the machine."""
    SHARED.mkdir(exist_ok=True)
    return f"mount --bind {folder}/empty {SHARED}"


@pytest.mark.timeout(600)
def test_the_first_start_of_a_user_compiles_nothing(folder: Path, tmp_path: Path) -> None:
    root = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-P", "-c", ENGINES], env=root, check=True, timeout=280, umask=0o077)
    assert compiled(start(folder, ENGINES)) == 0
    assert os.listdir(folder / "home") == os.listdir(folder / "tmp") == []


def test_what_is_not_shared_is_compiled_once(folder: Path, nothing_shared: str) -> None:
    assert [compiled(start(folder, SMALL, root_first=nothing_shared)) for _ in range(2)] == [1, 0]
    (file,) = (folder / "home").rglob("*.nbc")
    assert file.is_relative_to(folder / "home/.cache/hoverboard/numba")
    os.truncate(file, 40)
    assert [compiled(start(folder, SMALL, root_first=nothing_shared)) for _ in range(2)] == [1, 0]


def test_without_a_home_it_is_kept_in_tmp_and_told_once(folder: Path, nothing_shared: str) -> None:
    first, second = (start(folder, SMALL, home="nowhere", root_first=nothing_shared) for _ in range(2))
    assert [compiled(first), compiled(second)] == [1, 0]
    place = f"{folder}/tmp/hoverboard-cache-{UID}/numba"
    assert first.stderr == (
        f"hoverboard: compiled code is kept in {place}: you have no home folder that can be written\n"
    )
    assert second.stderr == ""


def test_a_full_disk_ends_no_start(folder: Path, nothing_shared: str) -> None:
    full = "\n".join(
        f"mount -t tmpfs -o mode=700,uid={UID},gid={UID},size=4k,nr_inodes=2 none {folder}/{name}"
        for name in ("home", "tmp")
    )
    done = start(folder, SMALL, root_first=f"{nothing_shared}\n{full}")
    assert compiled(done) == 1
    assert "compiled code cannot be kept (No space left on device)" in done.stderr


def test_code_that_others_can_write_is_not_run(folder: Path) -> None:
    """As if somebody had opened the cache of all so that all may compile into it."""
    (folder / "empty").chmod(0o777)
    done = start(folder, SMALL, root_first=f"mount --bind {folder}/empty {SHARED}")
    assert compiled(done) == 1
    assert "is not used, because others can write it" in done.stderr
    assert os.listdir(folder / "empty") == []
    assert list((folder / "home").rglob("*.nbc")) != []


def test_a_cache_of_roots_that_a_variable_names_is_judged_outside(folder: Path) -> None:
    cache = folder / "cache"
    cache.mkdir()
    subprocess.run(
        [sys.executable, "-P", "-c", SMALL], check=True, timeout=60,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert compiled(start(folder, SMALL, judged=True, NUMBA_CACHE_DIR=str(cache))) == 0
    done = start(folder, SMALL, NUMBA_CACHE_DIR=str(cache))
    assert done.returncode != 0
    assert "another user can write this directory" in done.stderr
    os.chown(cache, 12345, 12345)
    done = start(folder, SMALL, judged=True, NUMBA_CACHE_DIR=str(cache))
    assert "another user can write this directory" in done.stderr
