"""What a sweep kills and removes, against a process table of the test's own; the door that `closing` shuts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.errors import RunError
from tests.unit.topologies.processes.fake_processes import MACHINE, MOUNTS, FakeProcesses
from topologies.processes.ledger import Ledger, kill_all, live_processes, remove_tree, sweep
from topologies.processes.process_table import Process
from topologies.processes.run_directory import RunDirectory


@pytest.fixture
def directory() -> Iterator[RunDirectory]:
    with tempfile.TemporaryDirectory(prefix="hb") as base:
        run = RunDirectory.of("r", Path(base))
        run.path.mkdir()
        yield run


def begin(directory: RunDirectory, processes: FakeProcesses) -> Ledger:
    directory.lock.touch()
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


def test_a_process_in_a_network_namespace_of_its_own_is_found_by_its_host_name(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 99), 30: (300, 99)}
    processes.host_names = {20: -77}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert set(processes.table) == {30}


def test_a_process_that_has_left_network_and_host_name_is_found_by_its_mounts(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 98), 30: (300, 99)}
    processes.mounts = {20: 77 + MOUNTS}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert set(processes.table) == {30}


def test_the_mounts_that_a_run_was_started_from_are_not_its_own(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.machine = 5  # `down` itself runs in others
    # It has not made its namespaces yet.
    processes.table = {10: (100, MACHINE), 30: (300, 99)}
    processes.mounts = {30: MACHINE + MOUNTS}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert set(processes.table) == {30}


@pytest.mark.parametrize("missing", [("mnt",), ("uts", "mnt")])
def test_nodes_of_an_earlier_version_have_the_host_name_of_the_machine(
    missing: tuple[str, ...], directory: RunDirectory
) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    head = {key: value for key, value in ledger.head().items() if key not in missing}
    directory.ledger.write_text(json.dumps(head) + "\n")
    processes.table = {10: (100, 77), 20: (200, 77), 30: (300, 99)}
    processes.host_names = dict.fromkeys((10, 20, 30), -50)  # `down` itself runs in another
    processes.mounts = dict.fromkeys((10, 20, 30), 50)
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    kill_all(directory, processes)
    assert set(processes.table) == {30}


class Forking(FakeProcesses):
    """The process 20 had forked, unseen, before it was killed; so had the first `children` that it forked."""

    children = 1

    def send(self, process: Process, number: signal.Signals) -> None:
        runs = self.alive(process)
        super().send(process, number)
        if runs and 20 <= process.pid < 20 + self.children:
            self.table[process.pid + 1] = (process.start + 1, 77)


@pytest.mark.parametrize("children", [1, 10])
def test_a_process_forked_while_we_looked_is_found_by_its_namespace(directory: RunDirectory, children: int) -> None:
    processes = Forking()
    processes.children = children
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 77)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    killed = kill_all(directory, processes)
    assert processes.table == {}
    # A program that starts many processes loses who keeps its namespace after some rounds; it is found nevertheless.
    assert killed.index("namespace of blue-1") == (2 if children == 1 else 6)


def test_a_program_that_forks_without_end_is_told(directory: RunDirectory) -> None:
    processes = Forking()
    processes.children = 1000
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 77)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    with pytest.raises(RunError, match="start others faster than they are killed"):
        kill_all(directory, processes)
    assert directory.ledger.exists()


def test_strangers_are_named_by_pid_and_what_is_recorded_by_its_name(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 20: (200, 77), 30: (300, 77)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    ledger.record_process(Process(20, 200), "switch of h1", "switch")
    assert kill_all(directory, processes) == ["switch of h1", "pid 30 in a namespace of the run", "namespace of blue-1"]
    assert processes.killed == [20, 30, 10]


def test_who_takes_a_run_down_and_its_holder_are_spared(directory: RunDirectory) -> None:
    processes, myself = FakeProcesses(), os.getpid()
    ledger = begin(directory, processes)
    processes.table = {10: (100, 77), 40: (400, MACHINE), 50: (500, 77), myself: (1, 77)}
    ledger.record_process(Process(10, 100), "namespace of blue-1", "namespace")
    ledger.record_process(Process(40, 400), "holder", "holder")
    ledger.record_process(Process(50, 500), "shell", "shell")
    ledger.record_process(Process(myself, 1), "me", "shell")
    assert kill_all(directory, processes) == ["shell", "namespace of blue-1"]
    assert set(processes.table) == {40, myself}


def test_no_process_can_start_any_more_before_the_ledger_is_read(directory: RunDirectory) -> None:
    class Looking(FakeProcesses):
        closed: list[bool] = []

        def alive(self, process: Process) -> bool:
            self.closed.append(directory.closing.exists())
            return super().alive(process)

    processes = Looking()
    ledger = begin(directory, processes)
    processes.table = {10: (100, MACHINE)}
    ledger.record_process(Process(10, 100), "control plane", "control")
    kill_all(directory, processes)
    assert set(processes.closed) == {True}
    assert processes.timeouts == [20.0]


def test_a_run_is_taken_down_from_another_namespace_than_it_was_started_from(directory: RunDirectory) -> None:
    processes = FakeProcesses()
    ledger = begin(directory, processes)
    processes.table = {1: (1, MACHINE), 2: (2, 99), 10: (100, MACHINE), 11: (101, 99)}
    for pid in (10, 11):  # neither has unshared yet
        ledger.record_process(Process(pid, 90 + pid), f"namespace of blue-{pid}", "namespace")
    processes.machine = 99
    kill_all(directory, processes)
    assert set(processes.table) == {1, 2}


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
    assert processes.timeouts == [0.1, 20.0]


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


# --- files ----------------------------------------------------------------------------------------------


def fill(directory: RunDirectory, foreign: Path) -> None:
    """Files, folders and links as runs have them."""
    (foreign / "kept").mkdir(parents=True)
    (foreign / "kept" / "file").write_text("theirs")
    (directory.path / "topology.yaml").write_text("hosts: 1")
    directory.lock.touch()
    (directory.logs / "deep").mkdir(parents=True)
    (directory.logs / "deep" / "log").write_text("x")
    (directory.logs / "link").symlink_to(foreign / "kept")
    (directory.path / "to-a-directory").symlink_to(foreign / "kept")
    (directory.path / "to-a-file").symlink_to(foreign / "kept" / "file")
    (directory.path / "to-nothing").symlink_to(foreign / "nothing")


def test_a_sweep_removes_all_files_of_the_run_and_nothing_behind_a_link(directory: RunDirectory) -> None:
    foreign = directory.path.parent / "foreign"
    begin(directory, FakeProcesses())
    fill(directory, foreign)
    assert sweep(directory, FakeProcesses()) == []
    assert not directory.path.exists()
    assert (foreign / "kept" / "file").read_text() == "theirs"
    assert [one.name for one in directory.path.parent.iterdir()] == ["foreign"]


def test_ledger_and_lock_go_last_so_that_an_interrupted_sweep_can_be_repeated(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(directory, FakeProcesses())
    fill(directory, directory.path.parent / "foreign")

    def fail(path: str) -> None:
        raise OSError("the machine is going down")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", fail)
        with pytest.raises(OSError, match="going down"):
            sweep(directory, FakeProcesses())
    assert [one.exists() for one in (directory.closing, directory.ledger, directory.lock)] == [True] * 3
    sweep(directory, FakeProcesses())
    assert not directory.path.exists()


def test_folders_in_place_of_ledger_and_lock_are_removed(directory: RunDirectory) -> None:
    for path in (directory.ledger, directory.lock, directory.closing):
        (path / "deep").mkdir(parents=True)
    remove_tree(directory)
    assert not directory.path.exists()


def test_a_file_that_is_gone_when_its_turn_comes_is_no_error(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory.path / "short-lived").touch()
    scan = os.scandir

    def scan_and_remove(path: Path) -> list[os.DirEntry[str]]:
        found = list(scan(path))
        (path / "short-lived").unlink()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scan_and_remove)
        remove_tree(directory)
    assert not directory.path.exists()


def test_a_directory_without_a_ledger_or_with_nothing_in_it_is_removed(directory: RunDirectory) -> None:
    directory.logs.mkdir()
    remove_tree(directory)
    assert not directory.path.exists()


def test_control_groups_of_the_run_are_removed_where_nothing_is_in_them_any_more(directory: RunDirectory) -> None:
    groups = [directory.path.parent / name for name in ("empty", "in use", "never made")]
    ledger = begin(directory, FakeProcesses())
    for group in groups:
        ledger.append(record="cgroup", path=str(group))
    groups[0].mkdir()
    (groups[1] / "tasks").mkdir(parents=True)
    sweep(directory, FakeProcesses())
    assert [group.exists() for group in groups] == [False, True, False]
    assert not directory.path.exists()


def test_a_run_that_begins_in_the_same_directory_meanwhile_keeps_it(directory: RunDirectory) -> None:
    class Begun(RunDirectory):
        """Who waited for the lock begins while the sweep removes the last files."""

        @property
        def lock(self) -> Path:
            if not (self.path / "logs").exists():
                (self.path / "begun").touch()
            return super().lock

    begin(directory, FakeProcesses())
    directory.logs.mkdir()
    remove_tree(Begun(directory.run, directory.path))
    assert [one.name for one in directory.path.iterdir()] == ["begun"]
