"""Disks that are full or read-only: an error before anything starts, or the reason named later; mounts are apart."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from topologies.client import run_client

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def small() -> Iterator[Path]:
    """A folder to mount something on, with a short path."""
    with tempfile.TemporaryDirectory(prefix="hb", dir="/tmp") as folder:
        yield Path(folder)
        assert not os.path.ismount(folder)


def apart(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts of its own. $HB is the command."""
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=280,
        check=False, env={**os.environ, "HB": f"{sys.executable} -P -m console.cli", **environment},
    )  # fmt: skip


def test_a_state_directory_without_space_is_told_before_the_start(small: Path, tiny: Path, run_name: str) -> None:
    for detach in ("--detach", ""):
        done = apart(
            f"mount -t tmpfs -o mode=755,size=100k none {small} && $HB up {tiny} --run {run_name} {detach}; code=$?;"
            f" ls -A {small}; exit $code", HOVERBOARD_STATE_DIR=str(small),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
        assert f"{small}: only 100 KiB free, and a run of this size needs" in done.stderr


FULL = """
import sys
from topologies.processes import state_space
from topologies.run.testbed import Testbed
state_space._RUN_BYTES = state_space._NODE_BYTES = 0
try:
    Testbed(sys.argv[1], run=sys.argv[2]).up()
except Exception as error:
    sys.exit(f"{type(error).__name__} {error}")
"""


@pytest.mark.parametrize("kib", [8, 20, 40, 80])
def test_a_state_directory_that_fills_up_while_a_run_starts_is_told_as_such(
    kib: int, small: Path, tiny: Path, run_name: str, tmp_path: Path
) -> None:
    (tmp_path / "full.py").write_text(FULL)
    done = apart(
        f"mount -t tmpfs -o mode=755,size={kib}k none {small} && {sys.executable} {tmp_path}/full.py {tiny} {run_name};"
        f" find {small} -mindepth 1 -not -path '*/.failed*'",
        HOVERBOARD_STATE_DIR=str(small), PYTHONPATH=os.pathsep.join(sys.path),
    )  # fmt: skip
    assert done.stdout == ""
    assert f"MachineError {small}: " in done.stderr
    assert "no space left" in done.stderr
    assert "make room there, or set HOVERBOARD_STATE_DIR" in done.stderr


def test_a_read_only_state_directory_is_told(small: Path, tiny: Path, run_name: str) -> None:
    for detach in ("--detach", ""):
        done = apart(
            f"mount -t tmpfs -o mode=755,ro none {small} && $HB up {tiny} --run {run_name} {detach}",
            HOVERBOARD_STATE_DIR=str(small),
        )  # fmt: skip
        assert done.returncode == 4, done.stderr
        assert f"{small}: cannot be written: read-only file system" in done.stderr


def test_a_warm_environment_on_a_read_only_disk_starts_without_compiling(
    state: Path, tiny: Path, run_name: str, tmp_path: Path
) -> None:
    run_client.start_detached(tiny, run=run_name)  # its cache is warm by now
    run_client.down(run_name)
    prefix, log = sys.prefix, state / run_name / "logs" / "nursery.log"
    done = apart(
        f"mount --bind {prefix} {prefix} && mount -o remount,bind,ro {prefix} && ! touch {prefix}/new &&"
        f" $HB up {tiny} --run {run_name} --detach && ! grep compiling {log} && $HB down --run {run_name}",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "cache").exists(), "something was compiled, or copied"


@pytest.mark.parametrize("verb", ["demo --generation fastpath", "experiment run latency --quick"])
def test_results_without_a_place_are_told_before_anything_starts(verb: str, small: Path, state: Path) -> None:
    for options, words in (
        ("size=20k", "only 0 MiB free, and the results may need 8 MiB"),
        ("ro", "cannot be written: read-only file system"),
    ):
        done = apart(f"mount -t tmpfs -o {options} none {small} && $HB {verb} --out {small}/new/out")
        assert done.returncode == 4, done.stderr
        assert words in done.stderr
        assert "starting" not in done.stderr
    assert list(state.iterdir()) == []


def test_a_demo_whose_disk_fills_up_shows_what_it_measured(small: Path, state: Path, run_name: str) -> None:
    done = apart(
        f"mount -t tmpfs -o size=9m none {small} && (sleep 8; head -c 20m /dev/zero > {small}/other) & $HB demo"
        f" --generation fastpath --run {run_name} --out {small}/out"
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "cannot be written: no space left on device" in done.stderr
    assert "fastpath" in done.stdout
    assert list(state.iterdir()) == []
