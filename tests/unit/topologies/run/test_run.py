"""A run changes under its lock, from one topology to the next, and goes down once."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoverboard.contract.errors import InputError, RunError
from tests.unit.topologies.real_processes import Children, open_files
from tests.unit.topologies.run.made_up_run import TOPOLOGY, World
from topologies.changes import placement
from topologies.processes import marks
from topologies.processes.ledger import LostDirectoryError
from topologies.processes.process_table import identified
from topologies.processes.run_directory import RunDirectory, is_held
from topologies.run import run, vm_changes

_DEADLINE = 5.0  # seconds


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="hb") as state:
        made = World(Path(state))
        yield made
        made.run.take_down()


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of those whose gateway does not answer."""
    silent: list[str] = []
    monkeypatch.setattr(vm_changes, "wait_answers", lambda targets, *_, **__: [one for one in targets if one in silent])
    return silent


# --- changes --------------------------------------------------------------------------------------------


def test_a_run_has_one_change_at_a_time(world: World) -> None:
    order: list[str] = []

    def other() -> None:
        with world.run.changing():
            order.append("other")

    with world.run.changing():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.03)
        world.run.replace_topology(lambda present: present)  # by the one who holds the lock
        order.append("one")
    thread.join(_DEADLINE)
    assert order == ["one", "other"]


def test_nodes_know_the_names_of_a_changed_topology(world: World, caplog: pytest.LogCaptureFixture) -> None:
    spec = placement.plan_vm(TOPOLOGY, "blue", "new")
    world.run.replace_topology(lambda present: present.with_vm(spec))
    assert world.known == [["blue-1", "blue-2", "new"]]
    world.disk_full = True
    world.run.replace_topology(lambda present: present.without_vm(spec))
    assert "do not see all names" in caplog.text
    assert world.run.topology == TOPOLOGY


def test_topologies_that_two_threads_make_of_each_other_are_both_there(world: World) -> None:
    specs = [placement.plan_vm(TOPOLOGY, "blue", f"new-{number}", host="h1") for number in range(40)]

    def add(mine: list[int]) -> None:
        for number in mine:
            world.run.replace_topology(lambda present, spec=specs[number]: present.with_vm(spec))  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(list(range(first, 40, 4)),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_DEADLINE)
    assert len(world.names()) == 42


def test_a_vm_that_comes_is_intended_built_and_noted(world: World) -> None:
    spec = vm_changes.add_vm(world.run, "blue")
    assert (spec.name, world.names()) == ("blue-3", ["blue-1", "blue-2", "blue-3"])
    assert sorted(world.done) == [("node", "blue-3"), ("plug", "blue-3"), ("upsert", "blue-3")]
    vm_changes.remove_vm(world.run, "blue-3")
    assert world.done[3:] == [("remove", "blue-3"), ("drop", "blue-3")]
    assert world.names() == ["blue-1", "blue-2"]
    with pytest.raises(InputError, match="no VM 'blue-9'"):
        vm_changes.remove_vm(world.run, "blue-9")


@pytest.mark.parametrize("what", ["host", "manager", "gateway"])
def test_a_vm_that_does_not_come_leaves_nothing(world: World, answers: list[str], what: str) -> None:
    if what == "host":
        world.unpluggable = {"blue-3"}
    elif what == "manager":
        world.refuses = RunError("no answer")
    else:
        answers.append("blue-3")
    with pytest.raises(RunError, match=r"h1 does not answer|no answer|the gateway does not answer blue-3"):
        vm_changes.add_vm(world.run, "blue")
    assert (world.names(), list(world.nics)) == (["blue-1", "blue-2"], [])
    assert ("withdraw", "blue-3") in world.done


def test_prebuilt_vms_are_built_and_discarded(world: World) -> None:
    specs = vm_changes.prebuild_vms(world.run, "blue", 3)
    assert [(one.name, one.host, str(one.ip)) for one in specs] == [
        ("blue-3", "h1", "10.0.0.4"), ("blue-4", "h2", "10.0.0.5"), ("blue-5", "h1", "10.0.0.6"),
    ]  # fmt: skip
    assert world.names() == ["blue-1", "blue-2", "blue-3", "blue-4", "blue-5"]
    assert {verb for verb, _ in world.done} == {"node", "plug"}
    # A host process takes one request at a time.
    assert [one for one in world.done if one[1] != "blue-4"] == [
        ("node", "blue-3"), ("plug", "blue-3"), ("node", "blue-5"), ("plug", "blue-5"),
    ]  # fmt: skip
    world.done.clear()
    vm_changes.discard_vms(world.run, specs)
    assert world.done[:3] == [("forget", one.name) for one in specs]
    assert sorted(world.done[3:]) == [("drop", one.name) for one in specs]
    assert world.names() == ["blue-1", "blue-2"]


def test_a_prebuilt_vm_that_fails_takes_the_others_along(world: World) -> None:
    world.unpluggable = {"blue-4"}
    with pytest.raises(RunError, match="h2 does not answer"):
        vm_changes.prebuild_vms(world.run, "blue", 3)
    assert (world.names(), list(world.nics)) == (["blue-1", "blue-2"], [])


def test_vms_are_discarded_also_while_the_fabric_manager_is_away(world: World) -> None:
    specs = vm_changes.prebuild_vms(world.run, "blue", 1)
    world.refuses = RunError("no answer")
    with pytest.raises(RunError, match="no answer"):
        vm_changes.discard_vms(world.run, specs)
    assert (world.names(), list(world.nics)) == (["blue-1", "blue-2"], [])


# --- its life -------------------------------------------------------------------------------------------


def test_a_run_that_goes_down_is_changed_no_more_and_leaves_nothing(world: World) -> None:
    mine = world.run
    assert is_held(mine.directory)
    mine.take_down()
    mine.take_down()
    assert (mine.state, mine.closing.is_set(), mine.ended.is_set()) == ("down", True, True)
    assert not mine.directory.path.exists()
    assert [what for verb, what in world.done if verb == "close"] == ["cluster", "hosts", "network"]
    with pytest.raises(RunError, match="run 'made-up' is down"):
        vm_changes.add_vm(mine, "blue")


def test_a_run_that_is_taken_down_while_it_starts_does_not_come_up(world: World) -> None:
    world.run.take_down()
    with pytest.raises(RunError, match="is being taken down"):
        world.run.finish_start()
    assert world.run.state == "down"


def test_who_takes_a_run_down_waits_for_the_change_that_is_under_way(world: World) -> None:
    mine = world.run
    down = threading.Thread(target=mine.take_down)
    with mine.changing():
        down.start()
        assert mine.closing.wait(_DEADLINE)
        assert mine.state == "stopping"
        assert not mine.ended.is_set()
    down.join(_DEADLINE)
    assert mine.state == "down"


def test_many_can_take_it_down_at_once(world: World) -> None:
    threads = [threading.Thread(target=world.run.take_down) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_DEADLINE)
    assert world.run.state == "down"
    assert world.done.count(("close", "network")) == 1


def test_who_takes_it_down_late_writes_nothing_into_what_is_being_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, late = run.ledger.remove_tree, threading.Thread(target=world.run.take_down)
    killed: list[bool] = []

    def removing(directory: RunDirectory) -> None:
        monkeypatch.setattr(run.ledger, "kill_all", lambda _: killed.append(True))
        late.start()
        late.join(0.2)  # it waits for us, once it has stopped what it may
        remove(directory)

    monkeypatch.setattr(run.ledger, "remove_tree", removing)
    world.run.take_down()
    late.join(_DEADLINE)
    assert not late.is_alive()
    assert (killed, world.run.state, world.directory.path.exists()) == ([], "down", False)


@pytest.mark.parametrize("another", [False, True])
def test_a_run_that_has_lost_its_directory_ends_what_carries_its_mark_and_spares_another_runs_files(
    world: World, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    ended: list[marks.Mark] = []
    monkeypatch.setattr(run, "marks", SimpleNamespace(end=ended.append))
    mark = world.run.launcher.ledger.mark
    shutil.rmtree(world.directory.path)
    other = World(world.directory.path.parent) if another else None
    with pytest.raises(LostDirectoryError):
        world.run.launcher.start(["/bin/true"], "a shell", "shell")
    world.run.take_down()
    assert set(ended) == {mark}
    assert world.run.state == "down"
    assert world.directory.ledger.exists() == another
    assert not world.directory.closing.exists()
    if other is not None:
        other.run.take_down()


def test_a_run_that_loses_its_directory_goes_down_when_something_of_it_dies(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "marks", SimpleNamespace(end=lambda mark: 0))
    with Children() as children:
        child = children.start()
        world.run.supervisor.watch("nursery", None, lambda: identified(child.pid), lambda: None)
        shutil.rmtree(world.directory.path)
        child.kill()
        assert world.run.ended.wait(_DEADLINE)
    assert world.run.supervisor.status()["processes"][0]["state"] == "left dead"


def test_a_run_that_is_down_holds_no_descriptor_of_its_own() -> None:
    with tempfile.TemporaryDirectory(prefix="hb") as state:
        seen = []
        for _ in range(6):
            World(Path(state)).run.take_down()
            seen.append(open_files())
        # gRPC opens some of its own, once and late: those of a run would grow in number each time.
        assert any(len(after) <= len(before) for before, after in pairwise(seen)), seen
