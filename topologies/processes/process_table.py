"""The port for the kernel's processes: whether one is alive, its namespaces, signals, waiting for its end.

A process is identified by pid and start time, so that another process with the same pid is never taken for it.
`LinuxProcesses` is the real adapter; the unit tests have a fake one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

_KINDS = ("net", "uts", "mnt")  # of namespaces by which processes are found
_MOST_LOOKS = 100  # at the processes that came meanwhile; each takes some milliseconds


class Process(NamedTuple):
    """A process of this boot.

    Attributes:
        pid: its pid.
        start: field 22 of /proc/PID/stat, in clock ticks since boot.
    """

    pid: int
    start: int


class Processes(Protocol):
    """The functions of a process table that the ledger needs."""

    def boot_id(self) -> str:
        """Identifier of this boot; processes of another boot are gone."""

    def own_namespace(self) -> int:
        """Inode of our own network namespace."""

    def own_host_name(self) -> int:
        """Inode of our own UTS namespace."""

    def own_mounts(self) -> int:
        """Inode of our own mount namespace."""

    def alive(self, process: Process) -> bool:
        """Whether exactly this process runs; a zombie does not."""

    def namespace(self, process: Process) -> int | None:
        """Inode of its network namespace; None when it is gone."""

    def hold(self, process: Process, stack: contextlib.ExitStack) -> set[int]:
        """Hold its network, UTS and mount namespace until the stack is closed, so that no others get their inodes.

        Returns:
            Their inodes; empty when it is gone.
        """

    def members(self, namespaces: set[int]) -> Iterable[Process]:
        """All processes in one of these network, UTS or mount namespaces, one after the other."""

    def send(self, process: Process, number: signal.Signals) -> None:
        """Send a signal to exactly this process; harmless when it is gone."""

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        """Wait until all are gone; return those that still run after `timeout` seconds."""


def start_time(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Start time of a running process, in clock ticks since boot; None when it does not run or is a zombie."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may contain blanks and brackets: the fields follow the last bracket.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def cpu_seconds(pid: int | None, proc: Path = Path("/proc")) -> float:
    """The CPU time that a process has used, in seconds; 0 when there is no such process."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _inode(pid: int, kind: str) -> int | None:
    """Inode of a namespace of a process; None when it is gone, or even root may not read it: then it is not ours."""
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def identified(pid: int | None) -> Process | None:
    """The running process with this pid; None when there is no such process."""
    if pid is None:
        return None
    start = start_time(pid)
    return None if start is None else Process(pid, start)


class LinuxProcesses:
    """The process table of this machine.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def boot_id(self) -> str:
        """Identifier of this boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def own_namespace(self) -> int:
        """Inode of our own network namespace."""
        return os.stat("/proc/self/ns/net").st_ino

    def own_host_name(self) -> int:
        """Inode of our own UTS namespace."""
        return os.stat("/proc/self/ns/uts").st_ino

    def own_mounts(self) -> int:
        """Inode of our own mount namespace."""
        return os.stat("/proc/self/ns/mnt").st_ino

    def alive(self, process: Process) -> bool:
        """Whether exactly this process runs; a zombie does not."""
        return start_time(process.pid) == process.start

    def namespace(self, process: Process) -> int | None:
        """Inode of its network namespace; None when it is gone."""
        inode = _inode(process.pid, "net")
        return inode if self.alive(process) else None

    def hold(self, process: Process, stack: contextlib.ExitStack) -> set[int]:
        """Hold its network, UTS and mount namespace until the stack is closed, so that no others get their inodes.

        Returns:
            Their inodes; empty when it is gone.
        """
        for kind in _KINDS:
            with contextlib.suppress(OSError):  # it is gone, or we have no more descriptors: then nothing is held
                stack.callback(os.close, os.open(f"/proc/{process.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
        return self._namespaces(process)

    def _namespaces(self, process: Process) -> set[int]:
        found = (_inode(process.pid, kind) for kind in _KINDS)
        inodes = {inode for inode in found if inode is not None}
        return inodes if self.alive(process) else set()

    def members(self, namespaces: set[int]) -> Iterator[Process]:
        """All processes in one of these network, UTS or mount namespaces, one after the other.

        A process that is killed as soon as it is found has less time to fork. One that ends before it was looked at may
        have forked another one. So the processes that are new since are looked at as well, until none ended meanwhile.
        """
        seen: set[str] = set()
        for _ in range(_MOST_LOOKS):
            new = [entry for entry in os.listdir("/proc") if entry.isdigit() and entry not in seen]
            seen.update(new)
            all_seen = True
            for pid in map(int, new):
                inodes = [_inode(pid, kind) for kind in _KINDS]
                all_seen = all_seen and inodes[0] is not None
                if not namespaces.isdisjoint(inodes):
                    process = identified(pid)
                    if process is not None and namespaces & self._namespaces(process):
                        yield process
            if all_seen:
                return

    def open(self, process: Process) -> int | None:
        """A pidfd of exactly this process, readable once it has ended; None when it has ended already."""
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return None
        # A pidfd stays with one process; check now that it is the right one.
        if self.alive(process):
            return fd
        os.close(fd)
        return None

    def send(self, process: Process, number: signal.Signals) -> None:
        """Send a signal to exactly this process; harmless when it is gone."""
        fd = self.open(process)
        if fd is None:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, number)
        os.close(fd)

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        """Wait until all are gone; return those that still run after `timeout` seconds."""
        deadline = self._clock() + timeout
        waiting: dict[int, Process] = {}
        poller = select.poll()
        try:
            for process in processes:
                fd = self.open(process)
                if fd is not None:
                    waiting[fd] = process
                    poller.register(fd, select.POLLIN)
            while waiting:
                left = deadline - self._clock()
                if left <= 0:
                    break
                for fd, _ in poller.poll(left * 1000):
                    poller.unregister(fd)
                    os.close(fd)
                    del waiting[fd]
            return list(waiting.values())
        finally:
            for fd in waiting:
                os.close(fd)
