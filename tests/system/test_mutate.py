"""`tests/mutate` leaves nothing behind when it is told to end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from topologies.waiting import wait_for

CHECKOUT = Path(__file__).parents[2]


def descendants(pid: int) -> list[int]:
    try:
        children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(below for child in children for below in descendants(child))]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGHUP))]
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
        assert begun.wait(10) == 130
        wait_for(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 10.0,
            lambda: "some of it still runs", where="here",
        )  # fmt: skip
    finally:
        begun.kill()
        begun.wait()
