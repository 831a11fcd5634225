"""Runs that nobody holds, or finds, any more: which there are, and their end (`hoverboard down --orphans`).

A run whose holder was killed still has its directory, and is found by it. A run whose directory was deleted is found by
the mark of its processes and namespaces (`topologies.processes.marks`), wherever that directory was. Imports nothing
heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topologies.client import run_client
from topologies.processes import ledger, marks
from topologies.processes.marks import Mark, Marked
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, state_dir

_HOLDER_TIMEOUT = 10.0  # seconds, for a holder to see that its run was ended


@dataclass(frozen=True)
class Orphan:
    """A run that nobody holds or finds.

    Attributes:
        run: its name.
        directory: where it is, or was.
        lost: whether that directory is gone, or another run's by now.
        processes: how many still run.
        mark: of a run without a directory.
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
    """What became of an orphan.

    Attributes:
        holder: of a lost run, when it goes on: it is a program that does other things as well.
    """

    run: str
    holder: int | None = None


def lost_runs(machine: marks.Machine | None = None, *, namespaces: bool = True) -> list[Orphan]:
    """Runs of our own user whose directory was deleted, by name.

    Args:
        namespaces: False: only those of which a process runs that they started themselves; quicker.
    """
    machine = machine or marks.Machine()
    found = [
        Orphan(mark.run, mark.directory, True, len(marked.processes), mark)
        for mark, marked in machine.look(namespaces=namespaces).items()
        if not _has_directory(mark, marked, machine)
    ]
    return sorted(found, key=lambda one: (one.run, str(one.mark)))


def _has_directory(mark: Mark, marked: Marked, machine: marks.Machine) -> bool:
    """Whether a run has its directory, or what we saw of it has ended in the meantime."""
    if not marked.processes:
        return _is_of(mark, mark.directory)
    for process in marked.processes:
        # As the process sees it: it may be in a container, whose files are not ours.
        if _is_of(mark, machine.root_of(process) / mark.directory.relative_to("/")):
            return True
    # What goes down has its directory removed after its last process has died.
    return not any(machine.alive(process) for process in marked.processes)


def _is_of(mark: Mark, path: Path) -> bool:
    directory = RunDirectory(mark.run, path)
    try:
        return directory.lock.exists() and ledger.Ledger(directory).mark == mark
    except OSError:
        return False


def find(state: Path | None = None, *, everywhere: bool = True) -> list[Orphan]:
    """Runs of a state directory that died, and runs that have lost their directory.

    Args:
        everywhere: also runs that had their directory elsewhere, and those of which only namespaces are left.
    """
    base = state or state_dir()
    died = [
        Orphan(one.run, Path(one.path), False, len(one.processes))
        for one in run_client.dead_runs(base)
    ]  # fmt: skip
    lost = [one for one in lost_runs(namespaces=everywhere) if everywhere or one.directory.parent == base.absolute()]
    return died + lost


def end(orphan: Orphan, *, table: LinuxProcesses | None = None) -> Ended:
    """End exactly what is left of a run.

    Raises:
        RunError: something survived.
    """
    if orphan.mark is None:
        run_client.down(orphan.run, state=orphan.directory.parent, missing_ok=True)
        return Ended(orphan.run)
    marks.end(orphan.mark)
    # Whoever held it has seen its processes die, and lets go of it: a holder that only held this run ends.
    left = (table or LinuxProcesses()).wait_gone([orphan.mark.holder], _HOLDER_TIMEOUT)
    return Ended(orphan.run, left[0].pid if left else None)
