"""The ledger against a process table of our own, and the real table against real processes."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError, RunError
from topologies.ledger import Ledger, kill_all, live_processes, sweep
from topologies.processes import Process
from topologies.rundir import RunDirectory, RunLock, is_held, run_names

MACHINE = 1  # inode of the machine's own namespace


class FakeProcesses:
    """A process table: pid -> (start time, namespace). Immortal ones outlive SIGKILL."""

    def __init__(self, boot: str = "boot-1") -> None:
        self.boot = boot
        self.table: dict[int, tuple[int, int]] = {}
        self.immortal: set[int] = set()
        self.killed: list[int] = []

    def boot_id(self) -> str:
        return self.boot

    def own_namespace(self) -> int:
        return MACHINE

    def alive(self, process: Process) -> bool:
        return self.table.get(process.pid, (None, 0))[0] == process.start

    def namespace(self, process: Process) -> int | None:
        return self.table[process.pid][1] if self.alive(process) else None

    def members(self, namespaces: set[int]) -> list[Process]:
        return [Process(pid, start) for pid, (start, inode) in self.table.items() if inode in namespaces]

    def send(self, process: Process, number: signal.Signals) -> None:
        if self.alive(process):
            self.killed.append(process.pid)
            if process.pid not in self.immortal:
                del self.table[process.pid]

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        return [process for process in processes if self.alive(process)]


@pytest.fixture
def directory() -> Iterator[RunDirectory]:
    with tempfile.TemporaryDirectory(prefix="hb") as base:
        run = RunDirectory.of("r", Path(base))
        run.path.mkdir()
        yield run


def begin(directory: RunDirectory, processes: FakeProcesses) -> Ledger:
    ledger = Ledger(directory)
    ledger.create(processes)
    return ledger


def test_a_sweep_kills_what_is_recorded_and_nothing_else(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {10: (100, MACHINE), 11: (101, MACHINE), 12: (102, MACHINE)}
    ledger.record_process(Process(10, 100), "control plane", "control")
    ledger.record_process(Process(11, 99), "an old one, its pid used again", "switch")
    ledger.record_process(Process(13, 103), "one that is gone", "switch")
    assert sweep(directory, processes) == ["control plane"]
    assert processes.killed == [10]
    assert set(processes.table) == {11, 12}
    assert not directory.path.exists()


def test_strangers_in_a_namespace_of_the_run_go_too(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 77), 30: (300, 78)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert set(processes.table) == {30}


class Forking(FakeProcesses):
    """The process 20 had forked, unseen, before it was killed; with `forever` so does each child."""

    forever = False

    def send(self, process: Process, number: signal.Signals) -> None:
        super().send(process, number)
        if process.pid == 20 or (self.forever and process.pid > 20 and 77 in {n for _, n in self.table.values()}):
            self.table[process.pid + 1] = (process.start + 1, 77)


@pytest.mark.parametrize("forever", [False, True])
def test_a_process_forked_while_we_looked_is_found_by_its_namespace(directory: RunDirectory, forever: bool) -> None:
    processes = Forking()
    processes.forever = forever
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 77)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert 10 not in processes.table
    assert forever or not processes.table


def test_a_namespace_process_that_has_not_unshared_yet_does_not_take_the_machine_along(
    directory: RunDirectory,
) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {1: (1, MACHINE), 10: (100, MACHINE)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert set(processes.table) == {1}


def test_nothing_is_killed_after_a_reboot(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    ledger.record_process(Process(10, 100), "control plane", "control")
    processes.boot, processes.table = "boot-2", {10: (100, MACHINE)}
    assert sweep(directory, processes) == []
    assert set(processes.table) == {10}


def test_a_survivor_is_named_and_the_ledger_stays(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table, processes.immortal = {10: (100, MACHINE)}, {10}
    ledger.record_process(Process(10, 100), "stuck switch", "switch")
    with pytest.raises(RunError, match="stuck switch"):
        sweep(directory, processes, timeout=0.1)
    assert directory.ledger.exists()
    processes.immortal = set()
    assert sweep(directory, processes) == ["stuck switch"]


def test_a_line_that_a_crash_cut_short_is_left_out(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    ledger.record_process(Process(10, 100), "control plane", "control")
    with open(directory.ledger, "a") as file:
        file.write('{"record":"process","pid":11,"sta')
    assert [record.process.pid for record in ledger.processes()] == [10]


@given(
    st.lists(st.tuples(st.integers(2, 20), st.integers(1, 3), st.booleans()), max_size=30),
    st.dictionaries(st.integers(2, 20), st.tuples(st.integers(1, 3), st.sampled_from([MACHINE, 50, 51])), max_size=19),
)
def test_after_a_sweep_no_recorded_process_lives_and_every_other_does(
    records: list[tuple[int, int, bool]], table: dict[int, tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory(prefix="hb") as base:
        run = RunDirectory.of("r", Path(base))
        run.path.mkdir()
        processes = FakeProcesses()
        ledger = begin(run, processes)
        processes.table = dict(table)
        for pid, start, namespace in records:
            ledger.record_process(Process(pid, start), f"p{pid}", "namespace" if namespace else "switch")
        recorded = {record.process for record in live_processes(ledger, processes)}
        ours = {processes.namespace(Process(pid, start)) for pid, start, namespace in records if namespace} - {
            None,
            MACHINE,
        }
        expected = {
            pid for pid, (start, inode) in table.items() if Process(pid, start) not in recorded and inode not in ours
        }
        sweep(run, processes)
        assert set(processes.table) == expected


def test_one_lock_one_holder(directory: RunDirectory) -> None:
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    assert RunLock.try_take(directory, create=True) is None
    assert is_held(directory)
    lock.release()
    assert not is_held(directory)


def test_a_lock_on_a_file_that_was_removed_is_no_lock(directory: RunDirectory) -> None:
    first = RunLock.try_take(directory, create=True)
    assert first is not None
    directory.lock.unlink()
    second = RunLock.try_take(directory, create=True)
    assert second is not None
    first.release()
    assert is_held(directory)
    second.release()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 41, "sp ace"])
def test_run_names_cannot_leave_the_state_directory(name: str) -> None:
    with pytest.raises(InputError):
        RunDirectory.of(name)


def test_runs_are_directories_with_a_ledger(directory: RunDirectory) -> None:
    assert run_names(directory.path.parent) == []
    begin(directory, FakeProcesses())
    assert run_names(directory.path.parent) == ["r"]


def test_socket_paths_that_are_too_long_are_refused(directory: RunDirectory) -> None:
    directory.check_socket_paths(["h1"])
    with pytest.raises(InputError, match="shorter"):
        directory.check_socket_paths(["h" * 90])
