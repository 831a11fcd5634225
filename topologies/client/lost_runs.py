"""Finds and ends lost runs: their directory was deleted, lacks its lock or ledger, or belongs to another run now.

A lost run is found by the mark of its processes and namespaces (`topologies.processes.marks`). `down` and
`down --orphans` both end it here. This module must import nothing heavy: every command pays for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from hoverboard.contract.errors import HoverboardError, RunError, counted
from hoverboard.rpc.client import Client
from topologies.processes import ledger, marks
from topologies.processes.deadlines import wait_for
from topologies.processes.ledger import Part
from topologies.processes.marks import Mark, Marked
from topologies.processes.process_table import LinuxProcesses, Process
from topologies.processes.run_directory import RunDirectory, is_held

_REQUEST_TIMEOUT = 5.0
_SHUTDOWN_TIMEOUT = 30.0  # seconds in which a holder takes its run down
_KILL_TIMEOUT = 5.0
_HOLDER_TIMEOUT = 10.0  # seconds in which a holder notices that its run has ended
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


@dataclass(frozen=True)
class LostRun:
    """A lost run.

    Attributes:
        mark: its mark.
        missing: the part of its directory that is gone.
        processes: how many still run.
    """

    mark: Mark
    missing: Part
    processes: int


class HolderClient(Client):
    """A connection to the holder of a run."""

    peer = "the holder"


def find(machine: marks.Machine | None = None, *, namespaces: bool = True) -> list[LostRun]:
    """Lost runs of our own user, sorted by name.

    Args:
        machine: finds marks; default: this machine.
        namespaces: False: skip the marks of namespaces. This is quicker, and finds only runs with processes of theirs.
    """
    machine = machine or marks.Machine()
    found = []
    for mark, marked in machine.look(namespaces=namespaces).items():
        missing = _missing(mark, marked, machine)
        if missing is not None:
            found.append(LostRun(mark, missing, len(marked.processes)))
    return sorted(found, key=lambda one: (one.mark.run, str(one.mark)))


def _missing(mark: Mark, marked: Marked, machine: marks.Machine) -> Part | None:
    """The part of its directory that a run has lost; None also when all processes that we found have ended since."""
    # Look in each process's own root directory: it may be in a container with other files.
    roots = [machine.root_of(process) for process in marked.processes] or [Path("/")]
    found: set[Part] = set()
    for root in roots:
        missing = _missing_in(mark, root / mark.directory.relative_to("/"))
        if missing is None:
            return None
        found.add(missing)
    # A run that goes down removes its directory after its last process.
    if marked.processes and not any(machine.alive(process) for process in marked.processes):
        return None
    return max(found, key=("directory", "ledger", "lock").index)


def _missing_in(mark: Mark, path: Path) -> Part | None:
    try:
        return ledger.missing(RunDirectory(mark.run, path), mark)
    except OSError:
        return "directory"  # the root directory of a process that has ended


def marks_of(directory: RunDirectory) -> list[Mark]:
    """The marks of all lost runs with this directory; empty when the directory is intact and its lock works."""
    own = ledger.read_mark(directory)
    if ledger.missing(directory) is None:
        # The lock file may be another one than the holder has locked.
        replaced = own is not None and not is_held(directory) and serves(own.holder, directory.socket)
        return [own] if replaced and own is not None else []
    found = [] if own is None else [own]
    place = directory.path.absolute()
    return found + [one.mark for one in find() if one.mark.directory == place and one.mark != own]


def end(mark: Mark, *, force: bool = False, table: LinuxProcesses | None = None) -> Process | None:
    """End all that is left of a lost run, its holder first, and remove its directory; spare other runs.

    Args:
        mark: of the run.
        force: end the holder with signals if it does not answer.
        table: finds processes; default: those of this machine.

    Returns:
        The holder, if it still runs: a program that does other work, too.

    Raises:
        RunError: a process did not end, new ones start, or the directory has files that no run makes.
    """
    table = table or LinuxProcesses()
    _stop_holder(mark, table, force=force)
    marks.end(mark)
    # A holder that did not answer notices the death of the processes; one with no other work ends.
    left = table.wait_gone([mark.holder], _HOLDER_TIMEOUT)
    if (found := marks.Machine().look().get(mark)) is not None and found.processes:
        raise RunError(
            f"meanwhile the run has started {counted(len(found.processes), 'process', 'processes')}", where=mark.run,
            next_step=f"end its holder (pid {mark.holder.pid}), then repeat the command",
        )  # fmt: skip
    ledger.remove_remains(RunDirectory(mark.run, mark.directory), mark)
    return left[0] if left else None


def _stop_holder(mark: Mark, table: LinuxProcesses, *, force: bool) -> None:
    """Let the holder take its run down, while it serves requests of this run."""
    path = RunDirectory(mark.run, mark.directory).socket

    def stopped() -> bool:
        return not table.alive(mark.holder) or not serves(mark.holder, path)

    def wait(timeout: float) -> None:
        with contextlib.suppress(RunError):
            wait_for(stopped, timeout, lambda: "the holder does not stop")

    if not stopped() and request_shutdown(path):
        wait(_SHUTDOWN_TIMEOUT)
    if force and mark.holder.pid != os.getpid():
        for number, timeout in ((signal.SIGTERM, _SHUTDOWN_TIMEOUT), (signal.SIGKILL, _KILL_TIMEOUT)):
            if not stopped():
                table.send(mark.holder, number)
                wait(timeout)


def request_shutdown(path: Path) -> bool:
    """Request from the holder that serves this socket to take its run down; False when it does not answer."""
    client = HolderClient(path)
    try:
        client.connect(0.0)
        client.call("shutdown", timeout=_REQUEST_TIMEOUT)
    except HoverboardError:
        return False
    finally:
        client.close()
    return True


def serves(holder: Process, path: Path) -> bool:
    """Whether a process listens on a Unix socket, even if it hangs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)  # connect() would wait for room in the backlog, without a limit
        try:
            sock.connect(str(path))
        except BlockingIOError:
            return True  # too many connections wait already: its process hangs
        except OSError:
            return False
        pid, _, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid) == holder.pid
