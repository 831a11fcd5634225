"""Orphaned runs: how their marks are found in a fake /proc, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.topologies.processes.fake_proc import FakeProc
from topologies.client import orphans, run_client
from topologies.client.orphans import Ended, Orphan
from topologies.processes import marks
from topologies.processes.ledger import Ledger
from topologies.processes.marks import Mark
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, RunLock


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def begun(state: Path, name: str) -> Mark:
    """A run with its directory."""
    directory = RunDirectory.of(name, state)
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    ledger = Ledger(directory)
    ledger.create(LinuxProcesses())
    lock.release()
    assert ledger.mark is not None
    return ledger.mark


def gone(state: Path, name: str) -> Mark:
    """A run whose directory was deleted."""
    return Mark.of(state / name)


def test_a_run_is_lost_when_its_directory_is_gone_or_another_runs(proc: FakeProc, state: Path) -> None:
    whole, deleted = begun(state, "whole"), gone(state, "deleted")
    first, second = gone(state, "twice"), begun(state, "twice")
    unlocked = begun(state, "unlocked")
    (state / "unlocked" / "lock").unlink()
    for number, mark in enumerate((whole, deleted, deleted, first, second, unlocked), 10):
        proc.add(number, mark)
    assert orphans.lost_runs(proc.machine) == [
        Orphan("deleted", state / "deleted", True, 2, deleted),
        Orphan("twice", state / "twice", True, 1, first),
        Orphan("unlocked", state / "unlocked", True, 1, unlocked, "lock"),
    ]


def test_a_directory_is_looked_for_where_the_process_sees_it(proc: FakeProc, tmp_path: Path) -> None:
    container = tmp_path / "container"
    (container / "run" / "hoverboard").mkdir(parents=True)
    there = begun(container / "run" / "hoverboard", "demo")
    mark = there._replace(directory=Path("/run/hoverboard-of-a-test/demo"))
    (container / "run" / "hoverboard").rename(container / "run" / "hoverboard-of-a-test")
    ledger = container / "run" / "hoverboard-of-a-test" / "demo" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace(str(there), str(mark)))
    proc.add(10, mark, root=container)
    assert orphans.lost_runs(proc.machine) == []
    proc.add(11, mark)  # one of ours does not see it, and one is enough that does
    assert orphans.lost_runs(proc.machine) == []
    proc.remove(10)
    (lost,) = orphans.lost_runs(proc.machine)
    assert lost.run == "demo"


def test_what_ends_while_its_directory_is_removed_is_not_lost(
    proc: FakeProc, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.add(10, gone(state, "demo"))
    look = proc.machine.look

    def look_and_end(**options: bool) -> dict[Mark, marks.Marked]:
        found = look(**options)
        proc.remove(10)
        return found

    monkeypatch.setattr(proc.machine, "look", look_and_end)
    assert orphans.lost_runs(proc.machine) == []


def test_a_namespace_that_a_file_keeps_is_lost_with_its_run(proc: FakeProc, state: Path) -> None:
    proc.name("mine", gone(state, "demo"))
    proc.name("whole", begun(state, "whole"))
    (lost,) = orphans.lost_runs(proc.machine)
    assert (lost.run, lost.processes) == ("demo", 0)
    assert orphans.lost_runs(proc.machine, namespaces=False) == []


def test_runs_that_died_are_found_by_their_directory(
    proc: FakeProc, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "Machine", lambda: proc.machine)
    begun(state, "dead")
    held = RunLock.try_take(RunDirectory.of("held", state), create=True)
    assert held is not None
    Ledger(RunDirectory.of("held", state)).create(LinuxProcesses())
    here, elsewhere = gone(state, "here"), gone(tmp_path / "elsewhere", "there")
    proc.add(10, here)
    proc.add(11, elsewhere)
    assert [(one.run, one.lost) for one in orphans.find(state)] == [("dead", False), ("here", True), ("there", True)]
    assert [one.run for one in orphans.find(state, everywhere=False)] == ["dead", "here"]
    assert [str(one) for one in orphans.find(state, everywhere=False)] == [
        "dead (its holder died, 0 processes)", "here (has lost its directory, 1 process)",
    ]  # fmt: skip
    held.release()


def test_a_run_that_died_is_ended_by_its_directory(state: Path) -> None:
    begun(state, "dead")
    (dead,) = run_client.dead_runs(state)
    assert orphans.end(Orphan("dead", Path(dead.path), False, 0)) == Ended("dead")
    assert not (state / "dead").exists()
    assert orphans.end(Orphan("dead", Path(dead.path), False, 0)) == Ended("dead")  # another hand was faster


@pytest.mark.parametrize("lives", [False, True])
def test_a_lost_run_is_ended_by_its_mark_and_a_holder_that_goes_on_is_named(
    state: Path, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    ended: list[Mark] = []
    monkeypatch.setattr(marks, "end", ended.append)

    class Table(LinuxProcesses):
        def wait_gone(self, processes: object, timeout: float) -> list[object]:  # type: ignore[override]
            assert (processes, timeout) == ([mark.holder], 10.0)
            return [mark.holder] if lives else []

    mark = gone(state, "demo")
    assert orphans.end(Orphan("demo", state / "demo", True, 3, mark), table=Table()) == Ended(
        "demo", mark.holder.pid if lives else None
    )
    assert ended == [mark]
