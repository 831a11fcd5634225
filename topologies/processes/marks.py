"""The mark of a run: finds its processes and namespaces even when its directory was deleted.

Each process of a run has the mark in its environment, as HOVERBOARD_MARK; what it forks inherits it. Each namespace of
a run has it as the alias of its `lo` (`topologies.namespaces.netns`). It covers the devices in the namespace, and all
processes that users start there. Nothing is found by the names of processes or devices.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hoverboard.contract.errors import RunError
from topologies.namespaces import netns
from topologies.processes.process_table import LinuxProcesses, Process, Processes, start_time

VARIABLE = netns.MARK_VARIABLE
_ROUNDS = 20  # of killing, while new processes are forked


class Mark(NamedTuple):
    """Identifies a run of this boot.

    Attributes:
        id: random; two runs of the same name have different ones.
        holder: the holder of the run.
        directory: of the run, as its holder sees it; the last part is the name of the run.
    """

    id: str
    holder: Process
    directory: Path

    @classmethod
    def of(cls, directory: Path) -> Mark:
        """The mark of a new run that this process holds."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), Process(pid, start_time(pid) or 0), directory.absolute())

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """The mark for a text that `str(mark)` made; None when the text is not a mark."""
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
    """Processes and namespaces with the same mark.

    Attributes:
        processes: that have the mark, or are in a namespace that has it.
        pinned: files that keep a namespace of the run, with its devices, without a process.
    """

    processes: set[Process] = field(default_factory=set)
    pinned: list[Path] = field(default_factory=list)


class Machine:
    """Finds marks on this machine, of processes of one user.

    Args:
        proc: the proc file system.
        named: directory of the files with which `ip netns` names namespaces.
        user: effective user id of the processes; default: our own.
        read_mark: reads the mark of a namespace, given a file that names it.
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
        """All marks, with what has them.

        Args:
            namespaces: False: find only processes that have a mark themselves; this is quicker.
        """
        found: dict[Mark, Marked] = {}
        members: dict[str, list[Process]] = {}
        for process in self._own_processes():
            if (mark := self._mark_of(process)) is not None:
                found.setdefault(mark, Marked()).processes.add(process)
            with contextlib.suppress(OSError):
                members.setdefault(os.readlink(self._path(process) / "ns/net"), []).append(process)
        if namespaces:
            # In a thread of its own: a process whose main thread is in a VM's namespace would end with that VM.
            thread = threading.Thread(target=self._look_into_namespaces, args=(found, members), name="look")
            thread.start()
            thread.join()
        return found

    def root_of(self, process: Process) -> Path:
        """The root directory of a process, in which its paths are valid."""
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
            if len(users) > 2 and int(users[2]) == self._user and start is not None and self._is_here(entry):
                yield Process(int(entry), start)

    def _is_here(self, pid: str) -> bool:
        """Whether our pids are valid for a process: it is not in an ordinary user's run, which has both of its own."""
        try:
            return any(
                os.readlink(self._proc / pid / "ns" / kind) == os.readlink(self._proc / "self/ns" / kind)
                for kind in ("pid", "user")
            )
        except OSError:
            return True

    def _mark_of(self, process: Process) -> Mark | None:
        try:
            environment = (self._path(process) / "environ").read_bytes()
        except OSError:
            return None
        begin = f"{VARIABLE}=".encode()
        text = next((one[len(begin) :] for one in environment.split(b"\0") if one.startswith(begin)), b"")
        return Mark.parse(os.fsdecode(text))

    def _look_into_namespaces(self, found: dict[Mark, Marked], members: dict[str, list[Process]]) -> None:
        for pid in ("self", "1"):  # the machine's namespace and our own never belong to a run
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
    """Kill exactly the processes with a mark, wait for their end, and remove the devices of namespaces that are left.

    Args:
        mark: the mark.
        machine: default: this machine.
        processes: default: those of this machine.
        clear: removes all devices of a namespace, and its mark, given a file that names it.
        timeout: seconds to wait for killed processes.

    Returns:
        The number of processes that were killed.

    Raises:
        RunError: a process did not end after SIGKILL, or new ones start all the time.
    """
    machine, table = machine or Machine(), processes or LinuxProcesses()
    killed: set[Process] = set()
    for _ in range(_ROUNDS):
        # Repeat until none is left: what was forked meanwhile has the mark as well, or is in a namespace that has it.
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
            step = "wait until the kernel ends them, then repeat `hoverboard down --orphans`"
            raise RunError(f"still alive {timeout:g} s after SIGKILL: pid {pids}", where=mark.run, next_step=step)
        killed |= found
    raise RunError(
        "processes of the run start others faster than they are killed", where=mark.run,
        next_step="end the program that starts them, then repeat the command",
    )  # fmt: skip


def clear_namespace(path: Path) -> None:
    """Remove all devices of a namespace but `lo`, and its mark; the file that names it stays, for it is not ours."""
    from pyroute2 import IPRoute, NetlinkError  # its import takes 0.3 s

    with netns.entered(path), IPRoute() as route:
        for link in route.get_links():
            if link["index"] != 1:
                # One end of a veth pair is removed with the other; the kernel keeps its own devices, such as tunl0.
                with contextlib.suppress(NetlinkError):
                    route.link("del", index=link["index"])
    netns.write_mark(path, "")
