"""Finds and ends orphaned runs (`hoverboard down --orphans`): their holder died, or their directory was deleted.

A run without a holder is found by its directory. A run without a directory is found by the mark of its processes and
namespaces (`topologies.processes.marks`). This module must import nothing heavy: every command pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topologies.client import run_client
from topologies.processes import ledger, marks
from topologies.processes.marks import Mark, Marked
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, state_dir

_HOLDER_TIMEOUT = 10.0  # seconds in which a holder notices that its run has ended


@dataclass(frozen=True)
class Orphan:
    """An orphaned run.

    Attributes:
        run: its name.
        directory: its directory, even if it was deleted.
        lost: whether the directory was deleted, or belongs to another run now.
        processes: how many still run.
        mark: of a run without a directory; None for others.
    """

    run: str
    directory: Path
    lost: bool
    processes: int
    mark: Mark | None = None

    def __str__(self) -> str:
        why = "has lost its directory" if self.lost else "its holder died"
        return f"{self.run} ({why}, {self.processes} process{'' if self.processes == 1 else 'es'})"


@dataclass(frozen=True)
class Ended:
    """The end of an orphaned run.

    Attributes:
        run: its name.
        holder: pid of the holder of a lost run, if it still runs: a program that does other work, too. Else None.
    """

    run: str
    holder: int | None = None


def lost_runs(machine: marks.Machine | None = None, *, namespaces: bool = True) -> list[Orphan]:
    """Runs of our own user whose directory was deleted, sorted by name.

    Args:
        machine: finds marks; default: this machine.
        namespaces: False: skip the marks of namespaces. This is quicker, and finds only runs with processes of theirs.
    """
    machine = machine or marks.Machine()
    found = [
        Orphan(mark.run, mark.directory, True, len(marked.processes), mark)
        for mark, marked in machine.look(namespaces=namespaces).items()
        if not _has_directory(mark, marked, machine)
    ]
    return sorted(found, key=lambda one: (one.run, str(one.mark)))


def _has_directory(mark: Mark, marked: Marked, machine: marks.Machine) -> bool:
    """Whether a run has its directory, or all the processes that we found have ended since."""
    if not marked.processes:
        return _is_of(mark, mark.directory)
    for process in marked.processes:
        # Look in the process's own root directory: it may be in a container with other files.
        if _is_of(mark, machine.root_of(process) / mark.directory.relative_to("/")):
            return True
    # A run that goes down removes its directory after its last process.
    return not any(machine.alive(process) for process in marked.processes)


def _is_of(mark: Mark, path: Path) -> bool:
    directory = RunDirectory(mark.run, path)
    try:
        return directory.lock.exists() and ledger.Ledger(directory).mark == mark
    except OSError:
        return False


def find(state: Path | None = None, *, everywhere: bool = True) -> list[Orphan]:
    """All orphaned runs: those of a state directory without a holder, then those without a directory.

    Args:
        state: the state directory; default: HOVERBOARD_STATE_DIR, or /run/hoverboard.
        everywhere: find also runs from other state directories, and runs with only namespaces left.
    """
    base = state or state_dir()
    died = [
        Orphan(one.run, Path(one.path), False, len(one.processes))
        for one in run_client.dead_runs(base)
    ]  # fmt: skip
    lost = [one for one in lost_runs(namespaces=everywhere) if everywhere or one.directory.parent == base.absolute()]
    return died + lost


def end(orphan: Orphan, *, table: LinuxProcesses | None = None) -> Ended:
    """End all that is left of an orphaned run, and nothing else.

    Raises:
        RunError: a process did not end.
    """
    if orphan.mark is None:
        run_client.down(orphan.run, state=orphan.directory.parent, missing_ok=True)
        return Ended(orphan.run)
    marks.end(orphan.mark)
    # The holder notices the death of the processes and releases the run; a holder with no other work ends.
    left = (table or LinuxProcesses()).wait_gone([orphan.mark.holder], _HOLDER_TIMEOUT)
    return Ended(orphan.run, left[0].pid if left else None)
