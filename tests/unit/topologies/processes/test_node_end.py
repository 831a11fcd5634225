"""The processes of removed nodes: all in their namespaces end, and no others; the process table is made up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.real_processes import Children, open_files
from topologies.processes.node_end import end_processes
from topologies.processes.process_table import LinuxProcesses, Process, identified

NET, UTS, MNT = (os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("net", "uts", "mnt"))


class Table:
    """Real namespaces of a child, which are our own, as if they were a node's; what is in them is made up.

    Attributes:
        here: pids in the namespaces of the node, or pids that come when they are looked for.
        spawning: each process that is killed has started another one before.
        immortal: pids that outlive SIGKILL.
        killed: pids, in order.
        looks: how often all processes were looked at.
    """

    def __init__(self, *here: int) -> None:
        self.here = list(here)
        self.spawning, self.immortal = False, set[int]()
        self.killed: list[int] = []
        self.asked: list[set[int]] = []
        self.own = (0, 0, 0)
        self.looks = 0

    def own_namespace(self) -> int:
        return self.own[0]

    def own_host_name(self) -> int:
        return self.own[1]

    def own_mounts(self) -> int:
        return self.own[2]

    def boot_id(self) -> str:
        raise NotImplementedError

    def alive(self, process: Process) -> bool:
        return process.pid in self.here

    def namespace(self, process: Process) -> int | None:
        raise NotImplementedError

    def hold(self, process: Process, stack: ExitStack) -> set[int]:
        return LinuxProcesses().hold(process, stack)

    def members(self, namespaces: set[int]) -> Iterator[Process]:
        self.looks += 1
        self.asked.append(namespaces)
        yield from [Process(pid, 1) for pid in self.here]

    def send(self, process: Process, number: signal.Signals) -> None:
        assert number is signal.SIGKILL
        self.killed.append(process.pid)
        if process.pid in self.here and process.pid not in self.immortal:
            self.here.remove(process.pid)
            if self.spawning:
                self.here.append(process.pid + 1)

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        return [process for process in processes if process.pid in self.here]


@pytest.fixture
def holder() -> Iterator[int]:
    """A process that stands for the one that keeps a node's namespaces."""
    with Children() as children:
        yield children.start().pid


def test_a_node_without_other_processes_costs_one_look(holder: int) -> None:
    table = Table()
    before = open_files()
    end_processes([holder], table)
    assert (table.killed, table.looks) == ([holder], 1)
    assert table.asked == [{NET, UTS, MNT}]
    assert open_files() == before


def test_all_processes_in_it_end_after_its_holder(holder: int) -> None:
    table = Table(5001, 5002)
    end_processes([holder], table)
    assert table.killed == [holder, 5001, 5002]


def test_we_ourselves_and_the_machines_namespaces_are_spared(holder: int) -> None:
    table = Table(os.getpid())
    end_processes([holder], table)
    assert table.killed == [holder]
    table = Table(5001)
    table.own = (NET, UTS, MNT)
    end_processes([holder], table)
    assert (table.killed, table.looks) == ([holder], 0)


def test_a_holder_that_is_gone_is_left_out() -> None:
    gone = (1 << 22) + 1  # above the highest pid there can be
    table = Table(5001)
    end_processes([gone], table)
    assert (table.killed, table.looks) == ([], 0)


def test_a_program_that_starts_others_without_end_is_told(holder: int) -> None:
    table = Table(5001)
    table.spawning = True
    with pytest.raises(RunError, match="start others faster than they are killed"):
        end_processes([holder], table)
    assert table.looks == 20


def test_a_process_that_does_not_end_is_named(holder: int) -> None:
    table = Table(5001, 5002)
    table.immortal = {5002}
    before = open_files()
    with pytest.raises(RunError, match=r"still alive 3 s after SIGKILL: pid 5002\n"):
        end_processes([holder], table, timeout=3)
    assert open_files() == before


def test_a_holder_is_known_by_its_start_time(holder: int) -> None:
    sent: list[Process] = []

    class Exact(Table):
        def send(self, process: Process, number: signal.Signals) -> None:
            sent.append(process)

    end_processes([holder], Exact())
    assert sent == [identified(holder)]
