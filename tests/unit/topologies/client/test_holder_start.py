"""A holder and the process that starts it, over their socket: the holder here is a small program."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hoverboard.contract.errors import InputError, RunError
from tests.unit.topologies.real_processes import open_files
from tests.waiting import until
from topologies.client import holder_start
from topologies.processes.phases import PhaseEvent

# As the real one: it forks, and the parent ends. {body} talks to the starter, `end` says how it went on.
PROGRAM = """
import json, os, socket, sys, time
fd, end = int(sys.argv[1]), sys.argv[2]
if os.fork():
    os._exit(0)
starter = socket.socket(fileno=fd)
given = json.load(sys.stdin)
def send(**message):
    starter.sendall(json.dumps(message).encode() + b"\\n")
def answer():
    found = starter.recv(100).decode()
    with open(end, "a") as file:
        file.write(f"{found!r} {given['text']}\\n")
"""
READY = "send(progress={'phase': 'nodes', 'done': 1, 'total': 2, 'seconds': 0.5})\nsend(ready={'run': 'r'})\nanswer()"
pytestmark = pytest.mark.timeout(60)


class Holder:
    """Starts the small program as a holder; `end` has what it read at last."""

    def __init__(self, folder: Path) -> None:
        self.end = folder / "end"
        self._program = folder / "holder.py"

    def start(self, body: str, last_chance: Callable[[], None] = lambda: None) -> tuple[object, list[PhaseEvent]]:
        self._program.write_text(PROGRAM + body)
        events: list[PhaseEvent] = []
        ready = holder_start.start(
            lambda report: [sys.executable, "-S", str(self._program), str(report), str(self.end)],
            {"text": "hosts: 2"}, run="r", progress=events.append, last_chance=last_chance,
        )  # fmt: skip
        return ready, events

    def said(self) -> str:
        return self.end.read_text() if self.end.exists() else ""


@pytest.fixture
def holder(tmp_path: Path) -> Holder:
    return Holder(tmp_path)


def test_a_run_that_is_up_is_kept(holder: Holder) -> None:
    before = open_files()
    ready, events = holder.start(READY)
    assert ready == {"run": "r"}
    assert events == [PhaseEvent("nodes", 1, 2, 0.5)]
    until(lambda: holder.said() == "'keep\\n' hosts: 2\n", 10.0, "the holder gets no word")
    assert open_files() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("no")])
def test_whoever_does_not_want_the_run_any_more_waits_until_the_holder_has_undone_it(
    error: BaseException, holder: Holder
) -> None:
    def last_chance() -> None:
        raise error

    before = open_files()
    with pytest.raises(type(error)):
        holder.start(f"{READY}\ntime.sleep(0.3)\nanswer()", last_chance)
    assert holder.said() == "'' hosts: 2\n'' hosts: 2\n"
    assert open_files() == before


def test_a_signal_while_the_run_starts_ends_the_holder(holder: Holder) -> None:
    runs = holder.end.with_name("runs")

    def interrupt() -> None:
        until(runs.exists, 30.0, "the holder does not start")
        os.kill(os.getpid(), signal.SIGINT)

    begun = time.monotonic()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        holder.start(f"open({str(runs)!r}, 'w').close()\nanswer()")
    thread.join()
    assert holder.said() == "'' hosts: 2\n"
    assert time.monotonic() - begun < 20


def test_the_holder_s_error_comes_when_the_holder_has_ended(holder: Holder) -> None:
    error = "{'kind': 'InputError', 'what': 'bad', 'where': 'x', 'next_step': 'y'}"
    with pytest.raises(InputError, match="x: bad"):
        holder.start(f"send(error={error})\nanswer()\ntime.sleep(0.2)\nanswer()")
    assert holder.said().count("\n") == 2


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("sys.exit('no memory')", "the holder ended: no memory"),
        ("os._exit(0)", "the holder ended and wrote no log"),
    ],
)
def test_a_holder_that_dies_is_told_with_its_last_line(body: str, what: str, holder: Holder) -> None:
    with pytest.raises(RunError, match=f"r: {what}"):
        holder.start(body)


def test_a_run_that_another_takes_down_at_the_last_moment_is_not_told_as_up(holder: Holder) -> None:
    def wait_for_its_end() -> None:
        until(lambda: holder.said(), 10.0, "it does not end")
        time.sleep(0.2)

    with pytest.raises(RunError, match="was taken down while it was starting"):
        holder.start("send(ready={'run': 'r'})\nopen(end, 'w').write('gone')\nos._exit(0)", wait_for_its_end)


def test_a_holder_that_hangs_is_told_with_the_command_that_ends_it(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder_start, "_END_TIMEOUT", 0.5)
    pids = holder.end.with_name("pid")
    with pytest.raises(RunError, match=r"does not end\n  -> take it down with: hoverboard down --run r"):
        holder.start(
            f"open({str(pids)!r}, 'w').write(str(os.getpid()))\nsend(ready={{}})\ntime.sleep(30)",
            lambda: signal.raise_signal(signal.SIGINT),
        )
    os.kill(int(pids.read_text()), signal.SIGKILL)
