"""What the supervisor's threads share is touched under its lock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.unit.guarded import OwnedLock, guarded
from tests.unit.topologies.processes.supervised_world import World
from tests.unit.topologies.real_processes import Children
from tests.waiting import until
from topologies.processes import supervisor
from topologies.processes.ledger import LostDirectoryError


@pytest.fixture
def world() -> Iterator[World]:
    with Children() as children:
        made = World(children)
        yield made
        made.supervisor.stop()
        made.supervisor.join()


@pytest.fixture
def lock(world: World, monkeypatch: pytest.MonkeyPatch) -> OwnedLock:
    """The supervisor's lock, which notes what is touched without it."""
    made, watching = OwnedLock(), world.supervisor
    watching._lock = made  # type: ignore[assignment]
    watching._watched = guarded(watching._watched, made, "watched")
    watching._due = guarded(watching._due, made, "due")
    watching._suppressed = guarded(watching._suppressed, made, "suppressed")
    checked = {name: made.checked(getattr(heapq, name), f"due.{name}") for name in ("heappush", "heappop")}
    monkeypatch.setattr(supervisor, "heapq", SimpleNamespace(**checked))
    return made


def test_watched_due_and_suppressed_are_touched_under_the_lock(world: World, lock: OwnedLock) -> None:
    patient, other = world.watch(), world.watch(server="h2")
    for restarts in (1, 2, 3, 4):  # the last one after a pause
        world.kill(patient, restarts)
    world.clock.in_a_pause = lambda: world.supervisor.suppress_restarts("h1")
    patient.die()
    until(lambda: world.row()["state"] == "left dead")
    other.die()
    until(lambda: world.row(1).get("restarts") == 1)
    assert lock.without == []


def test_only_one_restart_finds_that_the_directory_is_lost(
    world: World, lock: OwnedLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    stopping = world.supervisor._stopping
    ended = stopping.set

    def end() -> None:
        held.append(lock.held)
        ended()

    monkeypatch.setattr(stopping, "set", end)
    patient = world.watch()
    world.ledger.error = LostDirectoryError("run 'r' has lost its directory", where="/run/hoverboard/r")
    patient.die()
    until(lambda: len(held) == 2)
    assert held == [True, False]  # who is first is decided under the lock, and stops the rest without it
