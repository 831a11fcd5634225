"""A made-up process table for the tests of the ledger: processes have namespaces, and end when they are killed."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import ExitStack

from topologies.processes.process_table import Process

MACHINE = 1  # inode of the machine's own namespace
MOUNTS = 1000  # from the inode of a network namespace to that of the mount namespace that belongs to it


class FakeProcesses:
    """A process table: pid -> (start time, network namespace). Immortal ones outlive SIGKILL.

    Attributes:
        host_names: pid -> UTS namespace, where it is not that of the network namespace.
        mounts: the same for mount namespaces.
        killed: pids, in order.
        timeouts: how long each wait was to be at most.
    """

    def __init__(self, boot: str = "boot-1") -> None:
        self.boot = boot
        self.machine = MACHINE
        self.table: dict[int, tuple[int, int]] = {}
        self.host_names: dict[int, int] = {}
        self.mounts: dict[int, int] = {}
        self.immortal: set[int] = set()
        self.killed: list[int] = []
        self.timeouts: list[float] = []

    def boot_id(self) -> str:
        return self.boot

    def own_namespace(self) -> int:
        return self.machine

    def own_host_name(self) -> int:
        return -self.machine

    def own_mounts(self) -> int:
        return self.machine + MOUNTS

    def alive(self, process: Process) -> bool:
        return self.table.get(process.pid, (None, 0))[0] == process.start

    def namespace(self, process: Process) -> int | None:
        return self.table[process.pid][1] if self.alive(process) else None

    def hold(self, process: Process, stack: ExitStack) -> set[int]:
        return self.namespaces(process)

    def namespaces(self, process: Process) -> set[int]:
        """The UTS namespace that belongs to a network namespace has the same number, below zero."""
        if not self.alive(process):
            return set()
        inode = self.table[process.pid][1]
        return {inode, self.host_names.get(process.pid, -inode), self.mounts.get(process.pid, inode + MOUNTS)}

    def members(self, namespaces: set[int]) -> list[Process]:
        known = [Process(pid, start) for pid, (start, _) in self.table.items()]
        return [process for process in known if self.namespaces(process) & namespaces]

    def send(self, process: Process, number: signal.Signals) -> None:
        assert number is signal.SIGKILL
        if self.alive(process):
            self.killed.append(process.pid)
            if process.pid not in self.immortal:
                del self.table[process.pid]

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        self.timeouts.append(timeout)
        return [process for process in processes if self.alive(process)]
