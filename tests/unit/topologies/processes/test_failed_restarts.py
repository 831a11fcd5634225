"""Restarts that fail, and processes that need another: retried, given up, and the reason shown."""

from __future__ import annotations

import re
import signal
import subprocess
import threading

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.processes.supervised_world import START, Patient, World
from tests.waiting import until
from topologies.processes.process_table import Process

_DEADLINE = 5.0  # seconds


@pytest.mark.parametrize("error", [RunError("it does not serve", where="log"), OSError()])
def test_a_restart_that_fails_is_tried_again_once_nothing_of_it_lives(world: World, error: Exception) -> None:
    patient = world.watch()
    halves: list[subprocess.Popen[bytes]] = []

    def fail() -> None:
        halves.append(patient.child)
        raise error

    patient.trouble = [fail, fail, fail]
    patient.die()
    until(lambda: world.row().get("restarts") == 1)
    assert len(halves) == 3
    assert [half.wait(_DEADLINE) for half in halves] == [-9, -9, -9]
    assert world.table.calls == [(half.pid, what) for half in halves for what in (signal.SIGKILL, 60.0)]
    # Four deaths by now: the last start came after a pause.
    assert [round(at - START, 3) for at in patient.tries] == [0.0, 0.0, 0.0, 0.2]
    assert [record["number"] for record in world.ledger.records] == [1, 1, 1, 1]


@pytest.mark.parametrize(("error", "shown"), [(OSError("no memory\nat all"), "no memory"), (OSError(), "OSError")])
def test_why_a_restart_failed_is_shown(world: World, error: OSError, shown: str) -> None:
    patient = world.watch()

    def fail() -> None:
        patient.child.kill()
        patient.child.wait()
        raise error

    patient.trouble = [fail] * 8
    patient.die()
    until(lambda: world.row()["state"] == "given up")
    assert world.row()["last"] == f"the restart failed: {shown}"
    assert len(patient.tries) == 7


def test_a_restart_with_an_unexpected_exception_is_a_failed_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    patient = world.watch()

    def fail() -> None:
        raise ValueError("not a pid")

    patient.trouble = [fail, fail, fail]
    world.kill(patient, 1)
    assert [round(at - START, 3) for at in patient.tries] == [0.0, 0.0, 0.0, 0.2]
    patient.trouble = [fail] * 4
    patient.die()
    until(lambda: world.row()["state"] == "given up")
    assert world.row()["last"] == "the restart failed: ValueError: not a pid"
    tracebacks = [record.exc_info for record in caplog.records if record.exc_info]
    assert [str(one[1]) for one in tracebacks] == ["not a pid"] * 6


def test_a_restart_whose_process_cannot_be_found_is_a_failed_restart(world: World) -> None:
    patient = world.watch()
    found = world.supervisor._all[0].process
    answers: list[object] = [ValueError("an empty pid file"), ValueError("an empty pid file")]

    def process() -> Process | None:
        if patient.tries and answers:
            raise answers.pop()  # type: ignore[misc]
        return found()

    world.supervisor._all[0].process = process
    world.kill(patient, 2)
    assert (len(patient.tries), answers) == (2, [])


def test_a_restart_without_a_thread_for_it_is_a_failed_restart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    patient, start = world.watch(), threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    patient.die()
    until(lambda: world.row().get("restarts") == 1)
    assert threading.Thread.start is start
    assert len(world.supervisor._all[0].deaths) == 2


# --- a process that needs another -----------------------------------------------------------------------


def test_a_restart_waits_until_what_it_needs_runs(world: World) -> None:
    nursery = world.watch("nursery", None)
    host = world.watch("host process", "h1", nursery)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(_DEADLINE)

    nursery.trouble = [hold]
    nursery.die()
    assert held.wait(_DEADLINE)
    host.die()
    until(lambda: world.row(1)["state"] == "down")
    assert host.tries == []
    go.set()
    until(lambda: world.row(1).get("restarts") == 1)
    assert len(nursery.tries) == 1


def test_what_needs_a_process_that_died_unnoticed_waits_for_its_restart(world: World) -> None:
    nursery = world.watch("nursery", None)
    host = world.watch("host process", "h1", nursery)
    seen: list[object] = []
    host.trouble = [lambda: seen.append(nursery.process())]
    nursery.die()
    host.die()
    until(lambda: world.row(1).get("restarts") == 1)
    assert (len(host.tries), seen) == (1, [nursery.process()])
    assert seen != [None]


def give_up(world: World, patient: Patient) -> None:
    for restarts in range(1, 8):
        world.kill(patient, restarts)
    patient.die()
    until(lambda: world.row()["state"] == "given up")


def test_what_needs_a_process_that_is_given_up_is_given_up_with_the_reason(world: World) -> None:
    nursery = world.watch("nursery", None)
    engines = world.watch("engines", None, nursery)
    host = world.watch("host process", "h1", nursery, engines)
    give_up(world, nursery)
    engines.die()
    until(lambda: world.row(1)["state"] == "given up")
    host.die()
    until(lambda: world.row(2)["state"] == "given up")
    assert (engines.tries, host.tries) == ([], [])
    for number in (1, 2):
        assert re.fullmatch(r"died at \d\d:\d\d:\d\d; not restarted: nursery is given up", world.row(number)["last"])
    assert world.supervisor.status()["down"] == 3


def test_what_waits_for_a_process_that_is_then_given_up_is_given_up(world: World) -> None:
    nursery = world.watch("nursery", None)
    host = world.watch("host process", "h1", nursery)
    for restarts in range(1, 7):
        world.kill(nursery, restarts)
    held, go = threading.Event(), threading.Event()

    def fail() -> None:
        held.set()
        go.wait(_DEADLINE)
        raise RunError("it does not serve")

    nursery.trouble = [fail]
    nursery.die()
    assert held.wait(_DEADLINE)
    host.die()
    until(lambda: world.row(1)["state"] == "down")
    go.set()
    until(lambda: world.row(1)["state"] == "given up")
    assert host.tries == []


def test_a_stop_ends_the_wait_for_another_process_at_once(world: World) -> None:
    nursery = world.watch("nursery", None)
    host = world.watch("host process", "h1", nursery)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(_DEADLINE)

    nursery.trouble = [hold]
    nursery.die()
    assert held.wait(_DEADLINE)
    host.die()
    waiting = "restart host process of h1"
    until(lambda: waiting in {thread.name for thread in threading.enumerate()})
    world.supervisor.stop()
    until(lambda: waiting not in {thread.name for thread in threading.enumerate()})
    go.set()
    assert host.tries == []
