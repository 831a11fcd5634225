"""Signals at any time of a start: after "interrupted" no run comes, and nothing of one is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until
from topologies.client import run_client
from topologies.processes import marks
from topologies.processes.run_directory import RunDirectory

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
pytestmark = pytest.mark.timeout(600)


@contextlib.contextmanager
def hoverboard(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The command as people start it: our own process group's, with the signals as a shell leaves them."""

    def as_in_a_shell() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-P", "-m", "console.cli", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=cwd, preexec_fn=as_in_a_shell,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def left_of(state: Path) -> list[str]:
    """Directories in the state directory, and processes and namespaces with the mark of a run there."""
    found = [str(path) for path in state.iterdir()]
    return found + [str(mark) for mark in marks.Machine().look() if mark.directory.is_relative_to(state)]


def interrupt(state: Path, cwd: Path, words: list[str], number: signal.Signals, after: float) -> str:
    """Start the command, signal it after some seconds, and check that nothing is left of it if it says so.

    Returns:
        "up" when the command ended well before the signal, else "interrupted".
    """
    where = f"{words[0]} and {number.name} after {after:.3f} s"
    with hoverboard(*words, cwd=cwd) as process:
        try:
            output, errors = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            output, errors = process.communicate(timeout=200)
        if process.returncode == 0:
            return "up"
        # Python itself ends with 1 when the signal comes while it starts.
        begun = "KeyboardInterrupt" not in errors
        assert process.returncode in ((130, -number) if begun else (1, 130, -number)), f"{where}: {output}{errors}"
        # The directory of the state is looked at at once: the command says that all is done.
        assert left_of(state) == [], f"{where}: {errors}"
        assert process.returncode != 130 or not begun or "interrupted" in errors, where
    return "interrupted"


def rounds(seconds: float, each: int, seed: int) -> Iterator[tuple[signal.Signals, float]]:
    """Each signal, at times spread over so many seconds, moved a little at random."""
    chance = random.Random(seed)
    for number in SIGNALS:
        for step in range(each):
            yield number, max(0.01, (step + chance.random()) * seconds / each)


EACH = [3, pytest.param(30, marks=pytest.mark.long)]


@pytest.mark.parametrize("each", EACH)
def test_up_detach_interrupted_at_any_time_leaves_nothing(
    each: int, state: Path, tiny: Path, tmp_path: Path, run_name: str
) -> None:
    directory = RunDirectory.of(run_name, state)
    for number, after in rounds(3.0, each, seed=each):
        if interrupt(state, tmp_path, ["up", str(tiny), "--run", run_name, "--detach"], number, after) == "up":
            assert run_client.live_runs() == [run_name]
            run_client.down(run_name)
            assert left_of(state) == []
        assert not directory.path.exists()


@pytest.mark.parametrize("each", EACH)
def test_up_in_the_foreground_interrupted_at_any_time_leaves_nothing(
    each: int, state: Path, tiny: Path, tmp_path: Path, run_name: str
) -> None:
    for number, after in rounds(3.0, each, seed=each + 1):
        with hoverboard("up", str(tiny), "--run", run_name, cwd=tmp_path) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
            process.send_signal(number)
            _, errors = process.communicate(timeout=200)
            # At its prompt, a signal is the end of a run that was up.
            assert process.returncode in (0, 130, -number) or "KeyboardInterrupt" in errors, errors
            assert left_of(state) == [], f"{number.name} after {after:.3f} s: {errors}"


SIZES = """
from experiments import Experiment, Sample

class Sizes(Experiment):
    name, title, source, measures, order = "sizes", "Sizes", "none", "nothing", 99
    repeat = 2

    def points(self, values):
        return [{"generation": name} for name in ("fastpath", "ovs")]

    def measure(self, point, values, bench):
        bench.testbed("two-hosts", dataplane=point["generation"])
        bench.fresh("two-hosts", dataplane=point["generation"])
        yield Sample("size", 1.0, "m", dict(point))
"""


@pytest.mark.parametrize("each", EACH)
@pytest.mark.parametrize("verb", ["demo", "experiment"])
def test_measurements_interrupted_at_any_time_leave_no_run(
    each: int, verb: str, state: Path, tmp_path: Path, run_name: str
) -> None:
    (tmp_path / "sizes.py").write_text(SIZES)
    words = ["demo", "--run", run_name] if verb == "demo" else ["experiment", "run", "sizes.py", "--quick"]
    for turn, (number, after) in enumerate(rounds(6.0, each, seed=each + 2)):
        interrupt(state, tmp_path, [*words, "--out", f"out{turn}"], number, after)


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6, 1.0, 1.4])
def test_a_starter_that_is_killed_leaves_no_run(
    after: float, state: Path, tiny: Path, tmp_path: Path, run_name: str
) -> None:
    with hoverboard("up", str(tiny), "--run", run_name, "--detach", cwd=tmp_path) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
    # Its holder is on its own: it ends when it sees that nobody waits for it.
    until(lambda: not _holders(run_name), 60.0, "the holder goes on without its starter")
    if run_client.live_runs() == [run_name]:
        pytest.skip("it was up before")
    assert left_of(state) == []


def _holders(run: str) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
            if b"topologies.run.holder" in words and run.encode() in words:
                found.append(int(entry))
    return found


def test_an_interrupted_start_leaves_the_run_of_that_name_alone(
    state: Path, tiny: Path, tmp_path: Path, run_name: str
) -> None:
    run_client.start_detached(tiny, run=run_name)
    for after in (0.1, 0.25, 0.4, 0.6):
        with hoverboard("up", str(tiny), "--run", run_name, "--detach", cwd=tmp_path) as process:
            time.sleep(after)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        assert run_client.live_runs() == [run_name]
    with run_client.RunClient(run_name) as run:
        assert run.status()["state"] == "up"


def test_nohup_keeps_a_start_from_the_hangup(state: Path, tiny: Path, tmp_path: Path, run_name: str) -> None:
    command = ["nohup", sys.executable, "-P", "-m", "console.cli", "up", str(tiny), "--run", run_name, "--detach"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    directory = RunDirectory.of(run_name, state)
    until(directory.ledger.exists, 60.0, "the start does not begin")
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert run_client.live_runs() == [run_name]
