"""Runs of an ordinary user, seen from outside of their namespaces.

The pids of such a run's ledger are valid inside alone. From here only its first process is judged and signalled
(`topologies.rootless.first_process`): its end ends all others. What needs the pids is done inside, by a process that
enters. This module must import nothing heavy: every command pays for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import RunError
from topologies.processes import ledger, marks
from topologies.processes.launcher import python
from topologies.processes.ledger import Ledger, Part
from topologies.processes.marks import Mark
from topologies.processes.process_table import LinuxProcesses, Process, start_time
from topologies.processes.run_directory import RunDirectory
from topologies.rootless import namespaces
from topologies.rootless.namespaces import FirstProcess

_INSIDE_TIMEOUT = 150.0  # seconds in which a process inside takes a run down
_KILL_TIMEOUT = 20.0


@dataclass(frozen=True)
class LostRun:
    """A run that lives on in namespaces of its own, and whose directory is not intact.

    Attributes:
        mark: its mark.
        missing: the part of its directory that is gone.
        first: the first process of its namespaces.
        processes: how many run there.
    """

    mark: Mark
    missing: Part
    first: FirstProcess
    processes: int


def first_of(directory: RunDirectory) -> FirstProcess | None:
    """The first process of a run's namespaces; None: we can judge the run by its own pids."""
    return ledger.first_process(Ledger(directory))


def is_alive(first: FirstProcess, directory: RunDirectory) -> bool:
    """Whether the first process of a run's namespaces runs.

    Raises:
        RunError: we are in other namespaces, where its number says nothing.
    """
    if not first.visible:
        raise RunError(
            "this run is in other namespaces than this process", where=str(directory.path),
            next_step="call this from a shell outside of them",
        )  # fmt: skip
    return ledger.keeps_run(first, Ledger(directory), LinuxProcesses())


def down(directory: RunDirectory, first: FirstProcess) -> None:
    """Take a run down from outside: a process enters, and does it there; else the first process is killed.

    Raises:
        RunError: a process does not end, or a file stays.
    """
    if is_alive(first, directory):
        _inside(first, directory.path.parent, directory.run)
        if _is_left(directory):
            _kill(first)
    if not _is_left(directory):
        if len(pids(first)) <= 1:  # nothing else is in there: it ends, too
            LinuxProcesses().wait_gone([Process(first.pid, first.start)], _KILL_TIMEOUT)
        return
    # Nothing of it runs any more. A new run may have begun in the same directory.
    lock = ledger.take_lock(directory)
    if lock is None:
        if first_of(directory) == first and _is_left(directory):
            raise RunError(
                f"run {directory.run!r} has a holder, and its ledger names another first process",
                where=str(directory.ledger),
                next_step="end the holder: `fuser` finds it on the file `lock` beside it; then repeat the command",
            )  # fmt: skip
        return
    try:
        if first_of(directory) == first:
            ledger.check_removable(directory)
            ledger.remove_tree(directory)
    finally:
        lock.release()


def _is_left(directory: RunDirectory) -> bool:
    return directory.ledger.exists()


def end_lost(run: LostRun) -> None:
    """End a lost run: inside, and if that fails by the end of its first process."""
    if start_time(run.first.pid) == run.first.start:
        _inside(run.first, run.mark.directory.parent, "--orphans")
        if any(one.mark == run.mark for one in lost()):
            _kill(run.first)
    ledger.remove_remains(RunDirectory(run.mark.run, run.mark.directory), run.mark)


def _inside(first: FirstProcess, state: Path, *words: str) -> None:
    """Let a process inside take runs down. It may be killed at its end, with the namespaces."""
    command = namespaces.joining(first, python("topologies.client.down_inside", *words))
    environment = {**os.environ, "HOVERBOARD_STATE_DIR": str(state)}
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_INSIDE_TIMEOUT, check=False
        )
        if done.returncode > 0 and done.stderr.strip():
            print(f"hoverboard: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)


def _kill(first: FirstProcess) -> None:
    """End all processes of namespaces, by the end of their first process."""
    process, table = Process(first.pid, first.start), LinuxProcesses()
    table.send(process, signal.SIGKILL)
    if table.wait_gone([process], _KILL_TIMEOUT):
        raise RunError(
            f"still alive {_KILL_TIMEOUT:g} s after SIGKILL: pid {first.pid}",
            next_step="wait until the kernel ends it, then repeat `hoverboard down`",
        )


def lost() -> list[LostRun]:
    """Lost runs in namespaces of our user's own, sorted by name."""
    found: dict[tuple[FirstProcess, Mark], LostRun] = {}
    for pid, environment in _marked_processes():
        first = FirstProcess.parse(environment.get(namespaces.VARIABLE, ""))
        mark = Mark.parse(environment.get(marks.VARIABLE, ""))
        if (
            first is None
            or mark is None
            or (first, mark) in found
            or not first.visible
            or start_time(first.pid) != first.start
        ):
            continue
        if namespaces.pid_namespace(pid) != namespaces.pid_namespace(first.pid):
            continue  # its environment was inherited, or made up
        missing = ledger.missing(RunDirectory(mark.run, mark.directory), mark)
        if missing is not None:
            found[first, mark] = LostRun(mark, missing, first, len(pids(first)))
    return sorted(found.values(), key=lambda one: (one.mark.run, str(one.mark)))


def _marked_processes() -> Iterator[tuple[int, dict[str, str]]]:
    """Processes of our user in other user namespaces, with what their environment says about a run."""
    own, wanted = os.readlink("/proc/self/ns/user"), (namespaces.VARIABLE, marks.VARIABLE)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):  # another user's, or gone
            place = Path("/proc", entry)
            if place.stat().st_uid != os.geteuid() or os.readlink(place / "ns/user") == own:
                continue
            words = (os.fsdecode(word).partition("=") for word in (place / "environ").read_bytes().split(b"\0"))
            yield int(entry), {name: value for name, _, value in words if name in wanted}


def pids(first: FirstProcess) -> dict[int, int]:
    """The processes in a first process's pid namespace: the pid there -> the pid here (NSpid of proc(5))."""
    wanted, found = namespaces.pid_namespace(first.pid), dict[int, int]()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and wanted is not None and namespaces.pid_namespace(int(entry)) == wanted:
            with contextlib.suppress(OSError):
                status = Path("/proc", entry, "status").read_text(errors="replace")
                numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
                found[int(numbers[-1])] = int(entry)
    return found


def translated(document: Any, known: dict[int, int]) -> Any:
    """A document with each "pid" as the caller sees it; None where the process is gone."""
    if isinstance(document, dict):
        return {
            key: known.get(value) if key == "pid" and isinstance(value, int) else translated(value, known)
            for key, value in document.items()
        }
    return [translated(one, known) for one in document] if isinstance(document, list) else document
