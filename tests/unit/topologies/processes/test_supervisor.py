"""Restarts: immediate at first, then after growing pauses; with real processes and a fake clock."""

from __future__ import annotations

import os
import re
import threading

import pytest

from hoverboard.contract.document_schemas import check
from hoverboard.contract.documents import Supervision
from hoverboard.contract.errors import RunError
from tests.unit.topologies.processes.supervised_world import START, Ledger, Patient, World
from tests.unit.topologies.real_processes import Children, open_files
from tests.waiting import until
from topologies.processes import supervisor
from topologies.processes.ledger import LostDirectoryError
from topologies.processes.process_table import identified
from topologies.processes.supervisor import Supervisor, pause

_DEADLINE = 5.0  # seconds


# --- how often, and how soon ----------------------------------------------------------------------------


def test_the_pauses_are_these() -> None:
    assert [pause(deaths) for deaths in range(1, 10)] == [0.0, 0.0, 0.0, 0.2, 0.4, 0.8, 1.6, None, None]
    assert pause(1000) is None


def test_no_pause_is_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "MAX_DEATHS", 12)
    assert [pause(deaths) for deaths in range(7, 12)] == [1.6, 3.2, 5.0, 5.0, 5.0]


def test_who_stops_it_while_another_joins_it_writes_to_nothing_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.supervisor.stop()
    write, joiners = os.eventfd_write, []

    def late(fd: int, value: int) -> None:
        joiners.append(threading.Thread(target=world.supervisor.join))
        joiners[0].start()
        joiners[0].join(0.1)  # it waits for us
        write(fd, value)

    monkeypatch.setattr(supervisor.os, "eventfd_write", late)
    world.supervisor.stop()
    monkeypatch.undo()
    joiners[0].join(_DEADLINE)
    assert not joiners[0].is_alive()


# --- a supervisor ---------------------------------------------------------------------------------------


def test_what_dies_is_started_again_at_once_and_shown(world: World) -> None:
    patient = world.watch()
    assert world.supervisor.status() == {"watched": 1, "restarts": 0, "down": 0, "processes": []}
    world.kill(patient, 1)
    assert patient.tries == [START]
    assert world.ledger.records == [{"record": "restart", "what": "ovs-vswitchd of h1", "number": 1}]
    status = world.supervisor.status()
    check(Supervision, status)
    assert (status["watched"], status["restarts"], status["down"]) == (1, 1, 0)
    row = world.row()
    assert re.fullmatch(r"restarted at \d\d:\d\d:\d\d in 0\.000 s", row.pop("last"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d", row.pop("died_at"))
    assert row == {"what": "ovs-vswitchd", "server": "h1", "state": "up", "restarts": 1, "why": None}
    world.kill(patient, 2)
    assert world.ledger.records[1]["number"] == 2
    until(lambda: len(world.clock.registered) == 2)  # the process, and what wakes the supervisor


def test_why_it_died_is_shown_also_when_it_runs_again(world: World) -> None:
    patient = world.watch()
    watched = world.supervisor._all[0]
    watched.why = lambda: "exit code 1"
    world.kill(patient, 1)
    assert world.row()["why"] == "exit code 1"
    assert world.row()["last"].startswith("restarted at ")


def test_a_restart_is_recorded_before_it_is_made_and_its_time_is_shown(world: World) -> None:
    patient = world.watch("nursery", None)
    before: list[int] = []

    def slow() -> None:
        before.append(len(world.ledger.records))
        world.clock.now += 2.0

    patient.trouble = [slow]
    world.kill(patient, 1)
    assert before == [1]
    assert world.ledger.records[0]["what"] == "nursery"
    assert world.row()["last"].endswith(" in 2.000 s")


def test_what_goes_on_dying_is_started_after_growing_pauses_and_given_up_at_last(world: World) -> None:
    patient = world.watch()
    for restarts in range(1, 8):
        world.kill(patient, restarts)
    made = [0.0, *(at - START for at in patient.tries)]
    assert [round(after - before, 3) for before, after in zip(made, made[1:], strict=False)] == [
        0.0, 0.0, 0.0, 0.2, 0.4, 0.8, 1.6,
    ]  # fmt: skip
    patient.die()
    until(lambda: world.row()["state"] == "given up")
    assert (world.row()["restarts"], len(patient.tries)) == (7, 7)
    assert re.fullmatch(r"died at \d\d:\d\d:\d\d", world.row()["last"])
    assert world.supervisor.status()["down"] == 1


def test_deaths_of_long_ago_do_not_count(world: World) -> None:
    patient = world.watch()
    for restarts in (1, 2, 3):
        world.kill(patient, restarts)
    world.clock.now += 60.0
    world.kill(patient, 4)
    assert patient.tries[3] == START + 60.0
    world.clock.now += 59.0
    for restarts in (5, 6):
        world.kill(patient, restarts)
    assert world.clock.now == START + 119.0
    world.kill(patient, 7)
    assert world.clock.now == START + 119.0 + 0.2


def test_what_waits_for_its_restart_is_down(world: World) -> None:
    patient = world.watch()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(_DEADLINE)

    patient.trouble = [hold]
    patient.die()
    assert held.wait(_DEADLINE)
    assert world.row()["state"] == "down"
    assert world.row()["last"].startswith("died at ")
    other = world.watch("host process", "h2")  # a slow restart delays no other
    other.die()
    until(lambda: world.row(1).get("restarts") == 1)
    assert world.supervisor.status()["down"] == 1
    go.set()
    until(lambda: world.row()["state"] == "up")


def test_what_is_gone_already_when_it_is_to_be_watched_is_started_again(world: World) -> None:
    patient = Patient(world)
    patient.child.kill()
    patient.child.wait()
    world.supervisor.watch("host process", "h1", patient.process, patient.again)
    until(lambda: world.row().get("restarts") == 1)
    world.supervisor.watch("engines", None, lambda: None, lambda: None)
    until(lambda: world.row(1).get("state") == "given up")  # never there


def test_what_dies_on_a_server_that_failed_stays_dead_and_all_else_comes_back(world: World) -> None:
    doomed, other, common = world.watch(server="h1"), world.watch(server="h2"), world.watch("nursery", None)
    world.supervisor.suppress_restarts("h1")
    for patient in (doomed, other, common):
        patient.die()
    until(lambda: world.supervisor.status()["restarts"] == 2)
    until(lambda: world.row()["state"] == "left dead")
    assert (doomed.tries, len(other.tries), len(common.tries)) == ([], 1, 1)
    assert world.supervisor.status()["down"] == 1
    assert world.row()["last"].startswith("died at ")


def test_a_server_that_fails_during_a_pause_stays_dead(world: World) -> None:
    patient = world.watch()
    for restarts in (1, 2, 3):
        world.kill(patient, restarts)
    world.clock.in_a_pause = lambda: world.supervisor.suppress_restarts("h1")
    patient.die()
    until(lambda: world.row()["state"] == "left dead")
    world.supervisor.stop()
    world.supervisor.join()
    assert len(patient.tries) == 3


# --- descriptors, and the end ---------------------------------------------------------------------------


def test_a_descriptor_that_is_used_again_is_not_taken_for_the_former_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = world.watch(server="h1"), Patient(world)
    close = os.close

    def close_and_watch(fd: int) -> None:
        monkeypatch.undo()
        close(fd)
        # Its descriptor has the number that was just given back.
        world.supervisor.watch("ovs-vswitchd", "h2", second.process, second.again)

    monkeypatch.setattr(os, "close", close_and_watch)
    first.die()
    until(lambda: world.row().get("restarts") == 1)
    world.kill(first, 2)
    assert second.tries == []
    assert second.process() is not None


def test_after_a_stop_nothing_is_started_any_more(world: World) -> None:
    patient = world.watch()
    world.supervisor.stop()
    patient.die()
    world.supervisor.join()
    assert (patient.tries, world.supervisor.status()["processes"]) == ([], [])


def test_a_stop_during_a_pause_ends_it_without_a_restart(world: World) -> None:
    patient = world.watch()
    for restarts in (1, 2, 3):
        world.kill(patient, restarts)
    world.clock.in_a_pause = world.supervisor.stop
    patient.die()
    until(lambda: world.clock.now > START)
    world.supervisor.join()
    assert len(patient.tries) == 3


def test_a_run_that_has_lost_its_directory_restarts_nothing_and_is_reported_once(world: World) -> None:
    lost: list[str] = []
    world.supervisor._lost = lambda: lost.append("lost")
    one, other = world.watch(), world.watch(server="h2")
    world.ledger.error = LostDirectoryError("run 'r' has lost its directory", where="/run/hoverboard/r")
    one.die()
    until(lambda: lost == ["lost"])
    other.die()
    world.supervisor.join()
    assert (one.tries, other.tries, lost) == ([], [], ["lost"])
    row = world.row()
    assert (row["state"], row["last"]) == ("left dead", "run 'r' has lost its directory")


def test_its_threads_do_not_keep_a_process_from_ending(world: World) -> None:
    patient = world.watch()
    seen: list[threading.Thread] = []
    patient.trouble = [lambda: seen.append(threading.current_thread())]
    world.kill(patient, 1)
    assert [(thread.daemon, thread.name) for thread in seen] == [(True, "restart ovs-vswitchd of h1")]
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "supervisor"] == [True]


def test_a_restart_that_was_under_way_at_a_stop_is_waited_for_and_not_repeated(world: World) -> None:
    patient = world.watch()
    held, go = threading.Event(), threading.Event()

    def fail() -> None:
        held.set()
        go.wait(_DEADLINE)
        raise RunError("it was taken down")

    patient.trouble = [fail]
    patient.die()
    assert held.wait(_DEADLINE)
    other = world.watch(server="h2")
    other.die()
    until(lambda: world.row(1).get("restarts") == 1)
    world.supervisor.stop()
    joining = threading.Thread(target=world.supervisor.join)
    joining.start()
    joining.join(0.03)
    assert joining.is_alive()
    go.set()
    joining.join(_DEADLINE)
    assert not joining.is_alive()
    assert len(patient.tries) == 1
    assert world.row()["state"] == "down"
    assert patient.process() is not None  # the sweep kills it


def test_a_supervisor_that_has_ended_holds_no_descriptor() -> None:
    with Children() as children:
        before = open_files()
        world = World(children)
        for number in range(3):
            world.kill(world.watch(server=f"h{number}"), 1) if number == 0 else world.watch(server=f"h{number}")
        world.supervisor.stop()
        world.supervisor.join()
        world.supervisor.join()
        world.supervisor.stop()
        assert open_files() == before


def test_the_machines_own_clock_and_processes_are_used_where_none_are_given() -> None:
    before = open_files()
    supervisor = Supervisor(Ledger())  # type: ignore[arg-type]
    with Children() as children:
        lives = [children.start()]
        supervisor.watch("nursery", None, lambda: identified(lives[-1].pid), lambda: lives.append(children.start()))
        assert not any(os.get_inheritable(int(one.split()[0])) for one in open_files() - before)
        lives[0].kill()
        until(lambda: supervisor.status()["restarts"] == 1)
        supervisor.stop()
        supervisor.join()
    assert len(lives) == 2
    assert open_files() == before


def test_a_supervisor_that_never_watched_anything_can_end() -> None:
    before = open_files()
    supervisor = Supervisor(Ledger())  # type: ignore[arg-type]
    supervisor.stop()
    supervisor.join()
    assert open_files() == before
