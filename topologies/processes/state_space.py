"""Space for the files of a run: looked at before its start, and named when it was the reason of a failure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hoverboard.contract.errors import MachineError
from topologies.processes.run_directory import RunDirectory

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_RUN_BYTES, _NODE_BYTES = 1 << 20, 1 << 17  # logs of the control plane; database, logs and checkpoint of a switch
_FULL = 1 << 14  # bytes; with less free space, a failure is one of space


def check(directory: RunDirectory, servers: int) -> None:
    """Check that a new run has space for its files.

    Args:
        directory: of the run; it need not exist.
        servers: number of its hosts and Hoverboards.

    Raises:
        MachineError: there is too little.
    """
    needed, free = _RUN_BYTES + servers * _NODE_BYTES, _free(directory)
    if free < needed:
        raise _full(directory, f"only {free >> 10:,} KiB free, and a run of this size needs {needed >> 10:,} KiB")


def reason(error: Exception, directory: RunDirectory) -> MachineError | None:
    """The error to show instead of `error`, when a start failed because files of the run could not be written."""
    if isinstance(error, OSError) and error.errno in _UNWRITABLE and not isinstance(error, ConnectionError):
        return _full(directory, f"cannot be written: {(error.strerror or str(error)).lower()}")
    if _free(directory) < _FULL:
        return _full(directory, f"no space left; then: {error}".splitlines()[0])
    return None


def _full(directory: RunDirectory, what: str) -> MachineError:
    return MachineError(
        what, where=str(directory.path.parent),
        next_step="make room there, or set HOVERBOARD_STATE_DIR to a directory on another disk",
    )  # fmt: skip


def _free(directory: RunDirectory) -> int:
    path = directory.path.absolute()
    while not path.exists() and path != Path("/"):
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
