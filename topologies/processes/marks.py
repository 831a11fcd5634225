"""The mark of a run, which does not live in its directory: what of this machine is a run's, when no file says so.

Each process of a run carries the mark in its environment as HOVERBOARD_RUN: the kernel keeps that text as long as the
process lives, what it forks has it too, and nobody else does. Each namespace of a run carries it as the alias of its
`lo` (`topologies.processes.netns`): devices are made inside of namespaces, so that a namespace's mark is that of its
devices, and of what people start in there. Names of processes and devices say nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hoverboard.contract.errors import RunError
from topologies.processes import netns
from topologies.processes.process_table import LinuxProcesses, Process, Processes, start_time

VARIABLE = "HOVERBOARD_RUN"
_TURNS = 20  # to kill what goes on forking


class Mark(NamedTuple):
    """A run of this boot.

    Attributes:
        id: random; a run of the same name has another one.
        holder: the process that holds it.
        directory: of the run, as the holder sees it; its last part is the run's name.
    """

    id: str
    holder: Process
    directory: Path

    @classmethod
    def of(cls, directory: Path) -> Mark:
        """A mark for a new run of this process."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), Process(pid, start_time(pid) or 0), directory.absolute())

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """The mark that `str` made; None when it is none."""
        try:
            name, pid, start, directory = text.split(":", 3)
            return cls(name, Process(int(pid), int(start)), Path(directory))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.id}:{self.holder.pid}:{self.holder.start}:{self.directory}"

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.directory.name


@dataclass(slots=True)
class Marked:
    """What carries one mark.

    Attributes:
        processes: that carry it themselves, or are in a namespace that does.
        pinned: files that keep a namespace of the run, with its devices, without any process.
    """

    processes: set[Process] = field(default_factory=set)
    pinned: list[Path] = field(default_factory=list)


class Machine:
    """Looks for marks, on processes of one user.

    Args:
        proc: where the kernel shows processes.
        named: where `ip netns` keeps files that name namespaces.
        user: effective user id of the processes that count; default: our own.
        read_mark: the mark of a namespace by a file that names it.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        named: Path = Path("/run/netns"),
        user: int | None = None,
        read_mark: Callable[[Path], str] = netns.read_mark,
    ) -> None:
        self._proc = proc
        self._named = named
        self._user = os.geteuid() if user is None else user
        self._read_mark = read_mark

    def look(self, *, namespaces: bool = True) -> dict[Mark, Marked]:
        """All that carries a mark; without `namespaces` only processes that do so themselves, which is quicker."""
        found: dict[Mark, Marked] = {}
        members: dict[str, list[Process]] = {}
        for process in self._own_processes():
            if (mark := self._mark_of(process)) is not None:
                found.setdefault(mark, Marked()).processes.add(process)
            with contextlib.suppress(OSError):
                members.setdefault(os.readlink(self._path(process) / "ns/net"), []).append(process)
        if namespaces:
            self._look_into_namespaces(found, members)
        return found

    def root_of(self, process: Process) -> Path:
        """The root directory of a process: paths are what they are there."""
        return self._path(process) / "root"

    def alive(self, process: Process) -> bool:
        """Whether exactly this process runs."""
        return start_time(process.pid, self._proc) == process.start

    def _path(self, process: Process) -> Path:
        return self._proc / str(process.pid)

    def _own_processes(self) -> Iterator[Process]:
        for entry in os.listdir(self._proc):
            if not entry.isdigit():
                continue
            try:
                status = (self._proc / entry / "status").read_text(errors="replace")
            except OSError:
                continue
            users = next((line.split() for line in status.splitlines() if line.startswith("Uid:")), [])
            start = start_time(int(entry), self._proc)
            if len(users) > 2 and int(users[2]) == self._user and start is not None:
                yield Process(int(entry), start)

    def _mark_of(self, process: Process) -> Mark | None:
        try:
            environment = (self._path(process) / "environ").read_bytes()
        except OSError:
            return None
        begin = f"{VARIABLE}=".encode()
        text = next((one[len(begin) :] for one in environment.split(b"\0") if one.startswith(begin)), b"")
        return Mark.parse(os.fsdecode(text))

    def _look_into_namespaces(self, found: dict[Mark, Marked], members: dict[str, list[Process]]) -> None:
        for pid in ("self", "1"):  # the machine's and our own are nobody's run, whatever stands there
            with contextlib.suppress(OSError):
                members.pop(os.readlink(self._proc / pid / "ns/net"), None)
        for processes in members.values():
            mark = Mark.parse(self._read_mark(self._path(processes[0]) / "ns/net"))
            if mark is not None:
                found.setdefault(mark, Marked()).processes.update(processes)
        for path in sorted(self._named.iterdir()) if self._named.is_dir() else []:
            mark = Mark.parse(self._read_mark(path))
            if mark is not None:
                found.setdefault(mark, Marked()).pinned.append(path)


def end(
    mark: Mark,
    machine: Machine | None = None,
    processes: Processes | None = None,
    clear: Callable[[Path], None] | None = None,
    timeout: float = 20.0,
) -> int:
    """Kill exactly what carries a mark, wait for its death, and remove the devices of namespaces that are left.

    Args:
        clear: removes all devices of a namespace, and its mark, by a file that names it.
        timeout: seconds to wait for killed processes.

    Returns:
        How many processes were killed.

    Raises:
        RunError: a process outlived SIGKILL, or there are always new ones.
    """
    machine, table = machine or Machine(), processes or LinuxProcesses()
    killed: set[Process] = set()
    for _ in range(_TURNS):
        # What was forked while we looked carries the mark as well, or is in a namespace that does.
        marked = machine.look().get(mark, Marked())
        found = {process for process in marked.processes if process.pid != os.getpid()}
        if not found:
            for path in marked.pinned:
                (clear or clear_namespace)(path)
            return len(killed)
        for process in found:
            table.send(process, signal.SIGKILL)
        if left := table.wait_gone(found, timeout):
            pids = ", ".join(str(process.pid) for process in left)
            raise RunError(f"still alive {timeout:g} s after SIGKILL: pid {pids}", where=mark.run)
        killed |= found
    raise RunError(
        "processes of the run start others faster than they are killed", where=mark.run,
        next_step="end what starts them, then try again",
    )  # fmt: skip


def clear_namespace(path: Path) -> None:
    """Remove all devices of a namespace but `lo`, and its mark; the file that names it is somebody else's."""
    from pyroute2 import IPRoute  # costs 0.3 s

    with netns.entered(path), IPRoute() as route:
        for link in route.get_links():
            if link["index"] != 1:
                with contextlib.suppress(Exception):  # the other end of a pair is gone with the first
                    route.link("del", index=link["index"])
    netns.write_mark(path, "")
