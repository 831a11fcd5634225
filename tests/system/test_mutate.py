"""`tests/mutate` leaves nothing behind when it is told to end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from topologies.processes.deadlines import wait_for

CHECKOUT = Path(__file__).parents[2]


def descendants(pid: int) -> list[int]:
    try:
        children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(below for child in children for below in descendants(child))]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL)),
    ],
)
def test_a_signal_ends_all_of_it(number: signal.Signals) -> None:
    begun = subprocess.Popen(
        [str(CHECKOUT / "tests" / "mutate"), "controllers/partitions.py"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        # unshare, the first process of its namespace, and Python in there.
        wait_for(lambda: len(descendants(begun.pid)) >= 3, 30.0, lambda: "tests/mutate has not begun", where="here")
        below = descendants(begun.pid)
        begun.send_signal(number)
        assert begun.wait(10) == (-number if number is signal.SIGKILL else 128 + number)
        wait_for(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 10.0,
            lambda: "some of it still runs", where="here",
        )  # fmt: skip
    finally:
        begun.kill()
        begun.wait()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lines", "x-y", "controllers/partitions.py"], "--lines x-y: say A-B, or A"),
        (["--lines", "9-3", "controllers/partitions.py"], "--lines 9-3: say A-B, or A"),
        (["--sample", "-1", "controllers/partitions.py"], "--sample"),
        (["README.md"], "README.md: not a Python file"),
        (["nosuch.py"], "nosuch.py: no such file or folder in this checkout"),
        (["--changed", "controllers", "--base", "HEAD~1"], "name modules, or --changed, and not both"),
        (["--change"], "unrecognized arguments: --change"),
        ([], "name modules, or --changed"),
        (["--root"], "--root needs a value"),
        (["--root", "/"], "/ is not a git checkout that you may read"),
        (["--root=/nosuch"], "--root: no such folder"),
        (["--changed", "--base=nosuch"], "--base: there is no commit nosuch"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_collected(words: list[str], said: str) -> None:
    done = subprocess.run(
        [str(CHECKOUT / "tests" / "mutate"), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
