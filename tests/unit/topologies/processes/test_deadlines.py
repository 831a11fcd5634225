"""Waiting for a condition in made-up time, and for real Unix sockets: with a deadline, and never for the dead."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.real_processes import open_files
from topologies.processes import deadlines
from topologies.processes.deadlines import accepts, wait_for, wait_sockets

START = 1_000_003.0


class Clock:
    """Stands for `time` and `select`: a wait takes no time but this clock's.

    Attributes:
        pauses: how long each wait was.
    """

    def __init__(self) -> None:
        self.now = START
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def select(self, read: list[int], write: list[int], error: list[int], timeout: float) -> None:
        assert (read, write, error) == ([], [], [])
        self.pauses.append(timeout)
        self.now += timeout


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadlines, "time", made)
    monkeypatch.setattr(deadlines, "select", made)
    return made


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hb") as directory:
        yield Path(directory)


def nothing() -> str:
    return "it does not serve"


def test_what_holds_already_is_not_waited_for(clock: Clock) -> None:
    wait_for(lambda: True, 0.0, nothing)
    assert clock.pauses == []


def test_pauses_between_two_looks_grow_to_an_end(clock: Clock) -> None:
    wait_for(lambda: clock.now > START + 1.0, 10.0, nothing)
    assert [round(pause, 6) for pause in clock.pauses[:9]] == [
        0.001, 0.0015, 0.00225, 0.003375, 0.005063, 0.007594, 0.011391, 0.017086, 0.02,
    ]  # fmt: skip
    assert set(clock.pauses[8:]) == {0.02}


def test_the_wait_ends_at_the_deadline_and_says_what_is_missing(clock: Clock) -> None:
    with pytest.raises(RunError, match=r"after 2.5 s: it does not serve") as failed:
        wait_for(lambda: False, 2.5, nothing, where="the log")
    assert 2.5 < clock.now - START < 2.53
    assert failed.value.where == "the log"
    assert failed.value.next_step == "read the log files in the run's directory"
    with pytest.raises(RunError) as failed:
        wait_for(lambda: False, 0.0, nothing)
    assert failed.value.where == ""


def test_a_condition_counts_that_holds_at_the_last_look(clock: Clock) -> None:
    def jump() -> bool:
        clock.now += 100.0
        return False

    looks: list[Callable[[], bool]] = [jump, lambda: True]
    with pytest.raises(RunError):  # the deadline is looked at between two looks
        wait_for(lambda: looks.pop(0)(), 99.5, nothing)
    looks = [jump, lambda: True]
    wait_for(lambda: looks.pop(0)(), 100.0, nothing)  # exactly at the deadline
    assert looks == []


def test_who_waits_for_work_waits_as_long_as_it_goes_on(clock: Clock) -> None:
    # It works at 2 % of a CPU for 1,000 seconds, then hangs.
    def work() -> float:
        return min(clock.now - START, 1000.0) * 0.02

    wait_for(lambda: clock.now > START + 900.0, 60.0, nothing, work=work, longest=1800.0)
    clock.now = START
    with pytest.raises(RunError, match=r"after 10[0-9][0-9] s: it does not serve"):
        wait_for(lambda: False, 60.0, nothing, work=work, longest=1800.0)
    assert START + 1060.0 <= clock.now < START + 1140.0


def test_work_that_never_ends_is_given_up_at_last(clock: Clock) -> None:
    with pytest.raises(RunError, match="it does not serve"):
        wait_for(lambda: False, 60.0, nothing, work=lambda: clock.now, longest=600.0)
    assert START + 600.0 <= clock.now < START + 670.0


def test_a_process_that_hangs_is_given_up_at_the_time_out(clock: Clock) -> None:
    with pytest.raises(RunError, match="after 60 s: it does not serve"):
        wait_for(lambda: False, 60.0, nothing, work=lambda: 7.0, longest=600.0)
    assert clock.now < START + 61.0


def test_a_condition_may_give_up_by_itself(clock: Clock) -> None:
    def gone() -> bool:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        wait_for(gone, 10.0, nothing)


def test_a_socket_accepts_while_a_process_listens(place: Path) -> None:
    path = place / "a.sock"
    before = open_files()
    assert accepts(path) is False
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert accepts(path) is False
        listener.listen()
        assert accepts(path)
    assert not accepts(path)
    assert open_files() == before


def test_all_sockets_of_a_process_are_waited_for(clock: Clock, place: Path) -> None:
    one, two, log = place / "1.sock", place / "2.sock", place / "log"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(one))
        first.listen()
        second.bind(str(two))
        with pytest.raises(RunError, match="after 1 s: the switch does not serve") as failed:
            wait_sockets("the switch", [one, two], lambda: True, 1.0, log)
        assert failed.value.where == str(log)
        second.listen()
        # One that serves counts, even if it has ended since.
        wait_sockets("the switch", [one, two], lambda: False, 1.0, log)
        wait_sockets("the switch", [], lambda: False, 1.0, log)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (b"starting\n\nno \xffmemory\n\n", "its last line: no \N{REPLACEMENT CHARACTER}memory"),
        (b"x" * 400, f"its last line: {'x' * 300}"),
        (b"\n", "it wrote no log; retry, and see `hoverboard doctor`"),
        (None, "it wrote no log; retry, and see `hoverboard doctor`"),
    ],
)
def test_a_process_that_ended_is_not_waited_for_and_its_last_line_is_shown(
    clock: Clock, place: Path, words: bytes | None, shown: str
) -> None:
    log = place / "log"
    if words is not None:
        log.write_bytes(words)
    with pytest.raises(RunError, match="the switch ended while it was starting") as failed:
        wait_sockets("the switch", [place / "none.sock"], lambda: False, 60.0, log)
    assert clock.pauses == []
    assert (failed.value.where, failed.value.next_step) == (str(log), shown)
