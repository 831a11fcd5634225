"""Finds and ends orphaned runs (`hoverboard down --orphans`): their holder died, or their directory is not intact.

A run without a holder is found by its directory. A run whose directory is not intact is found by the mark of its
processes and namespaces (`topologies.client.lost_runs`). This module must import nothing heavy: every command pays for
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hoverboard.contract.errors import counted
from topologies.client import lost_runs as lost
from topologies.client import run_client, user_runs
from topologies.processes import marks
from topologies.processes.ledger import Part
from topologies.processes.marks import Mark
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import state_dirs


@dataclass(frozen=True)
class Orphan:
    """An orphaned run.

    Attributes:
        run: its name.
        directory: its directory, even if it was deleted.
        lost: whether its directory is not intact (`topologies.processes.ledger.missing`).
        processes: how many still run.
        mark: of a lost run; None for others.
        missing: of a lost run, the part of its directory that is gone.
        inside: of a lost run in namespaces of a user's own, how it is ended.
    """

    run: str
    directory: Path
    lost: bool
    processes: int
    mark: Mark | None = None
    missing: Part = "directory"
    inside: user_runs.LostRun | None = None

    def __str__(self) -> str:
        why = f"has lost its {self.missing}" if self.lost else "its holder died"
        return f"{self.run} ({why}, {counted(self.processes, 'process', 'processes')})"


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
    """Lost runs of our own user, sorted by name; for the arguments see `lost_runs.find`."""
    here = [
        Orphan(one.mark.run, one.mark.directory, True, one.processes, one.mark, one.missing)
        for one in lost.find(machine, namespaces=namespaces)
    ]
    return here + [
        Orphan(one.mark.run, one.mark.directory, True, one.processes, one.mark, one.missing, one)
        for one in user_runs.lost()
    ]


def find(state: Path | None = None, *, everywhere: bool = True) -> list[Orphan]:
    """All orphaned runs, each once: those of a state directory without a holder, then lost runs.

    Args:
        state: the state directory; default: all those of the caller.
        everywhere: find also runs from other state directories, and runs with only namespaces left.
    """
    bases = [one.absolute() for one in ([state] if state is not None else state_dirs())]
    found = [one for one in lost_runs(namespaces=everywhere) if everywhere or one.directory.parent in bases]
    named = {one.directory for one in found if one.missing != "directory"}
    dead = [one for base in bases for one in run_client.dead_runs(base)]
    died = [Orphan(one.run, Path(one.path), False, len(one.processes)) for one in dead]
    return [one for one in died if one.directory not in named] + found


def end(orphan: Orphan, *, table: LinuxProcesses | None = None) -> Ended:
    """End all that is left of an orphaned run, its holder first, and nothing else.

    Raises:
        RunError: a process did not end, or a file stays.
    """
    if orphan.inside is not None:
        user_runs.end_lost(orphan.inside)
        return Ended(orphan.run)
    if orphan.mark is None:
        run_client.down(orphan.run, state=orphan.directory.parent, missing_ok=True)
        return Ended(orphan.run)
    holder = lost.end(orphan.mark, table=table)
    return Ended(orphan.run, None if holder is None else holder.pid)
