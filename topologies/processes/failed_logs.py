"""The logs of a start that failed: kept beside the directories of runs, until the next start of that name or `down`.

The directory of a run is removed when its start fails. An error may name a log file, so the logs are moved first. The
error gets their new place, and the last lines of its log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from hoverboard.contract.errors import HoverboardError
from topologies.processes.run_directory import RunDirectory, state_dir

_FOLDER = ".failed"  # no run has this name
_LAST_LINES = 5
_TAIL, _WIDTH = 1 << 14, 300  # bytes to look at for the last lines, characters to show of a line


def place(directory: RunDirectory) -> Path:
    """The directory for the logs of a failed start of this run."""
    return directory.path.parent / _FOLDER / directory.run


def keep(directory: RunDirectory) -> Path | None:
    """Move the logs out of the directory of a run; return their new directory. None: there are none, or they are lost.

    Moving works on a full disk, too. The logs of an earlier failed start are removed.
    """
    to = place(directory)
    with contextlib.suppress(OSError):
        forget(directory)
        logs = sorted(directory.path.rglob("*.log"))
        for folder in (to.parent, to) if logs else ():
            folder.mkdir(mode=0o700, exist_ok=True)
        for log in logs:
            moved = to / log.relative_to(directory.path)
            moved.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            log.rename(moved)
    return to if to.is_dir() else None


def forget(directory: RunDirectory) -> bool:
    """Remove the logs of a failed start of this run, if there are any; return whether there were."""
    to = place(directory)
    if not to.is_dir() or to.is_symlink() or to.parent.is_symlink():
        return False
    shutil.rmtree(to)
    with contextlib.suppress(OSError):  # others are left
        to.parent.rmdir()
    return True


def names(state: Path | None = None) -> list[str]:
    """Names of the runs of which logs of a failed start are kept, sorted."""
    try:
        return sorted(os.listdir((state or state_dir()) / _FOLDER))
    except OSError:  # there are none, or the state directory is another user's
        return []


def explain(error: HoverboardError, directory: RunDirectory, kept: Path | None) -> None:
    """Let an error that was raised by a start name the kept logs, and tell the last lines of its own log.

    Args:
        error: its texts are changed.
        directory: of the run, which is gone.
        kept: the directory of its logs, from `keep`.
    """
    if kept is None:
        return
    told = str(directory.path)
    error.where, error.what, error.next_step = (
        text.replace(told, str(kept)) for text in (error.where, error.what, error.next_step)
    )
    lines = last_lines(Path(error.where)) if error.where.startswith(str(kept)) else []
    unsaid = [line for line in lines if line not in error.next_step]
    if unsaid:
        error.next_step += "; its last lines:" + "".join(f"\n     | {line}" for line in lines)
    elif not error.where.startswith(str(kept)):
        error.next_step += f"{'; ' if error.next_step else ''}the logs of this start are in {kept}"


def last_lines(log: Path) -> list[str]:
    """The last lines of a log file that are not blank; empty when there is no such file."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return [line[:_WIDTH] for line in lines[-_LAST_LINES:]]
