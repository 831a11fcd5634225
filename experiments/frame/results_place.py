"""The place of results on disk: looked at before a measurement, with a clear error when it cannot be written later."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hoverboard import safe_files
from hoverboard.contract.errors import InputError, MachineError
from hoverboard.safe_files import RefusedPlaceError

DEMO_MIB, RUN_MIB, ALL_MIB = 8, 8, 64  # of a demonstration, of an experiment, of all experiments
_PROBE = bytes(1 << 16)
_OF_FILES = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
)  # fmt: skip


def check_folder(folder: Path, mib: int) -> None:
    """Check that a folder for results can be made, or is there, and has space. Nothing is made.

    Args:
        folder: of the results.
        mib: MiB that they may need.

    Raises:
        InputError: a file is in its way, it cannot be written, or it is a folder that root writes nothing into.
        MachineError: there is too little space.
    """
    place = _nearest(folder)
    if not place.is_dir():
        raise InputError(f"{place} is a file, not a folder", where="--out", next_step="give another --out")
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize >> 20
    if free < mib:
        raise MachineError(
            f"only {free} MiB free, and the results may need {mib} MiB", where=str(folder),
            next_step="make room on that disk, or give another --out",
        )  # fmt: skip
    try:
        safe_files.check_folder(folder)
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(_PROBE)
    except OSError as error:
        raise _unwritable(folder, error, "give another --out") from error


def check_file(path: Path) -> None:
    """Check that a file for results can be written in its place; arguments and errors as for `check_folder`."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file", where="--out", next_step="give another --out")
    check_folder(path.absolute().parent, 1)


@contextlib.contextmanager
def writing(folder: Path, next_step: Callable[[], str]) -> Iterator[None]:
    """Tell an error of writing results in the block with the reason, and how to go on.

    Args:
        folder: of the results.
        next_step: what to do, with what is there already.

    Raises:
        MachineError: a file could not be written, or must not be written there.
    """
    try:
        yield
    except RefusedPlaceError as error:
        # The folder was right before the measurement. What was measured must not go with the error.
        raise MachineError(
            f"cannot be written: {error.what}", where=error.where or str(folder), next_step=next_step()
        ) from error
    except OSError as error:
        if error.errno not in _OF_FILES:
            raise
        raise _unwritable(Path(error.filename or folder), error, next_step()) from error


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    return place


def _unwritable(path: Path, error: OSError, next_step: str) -> MachineError:
    return MachineError(
        f"cannot be written: {(error.strerror or str(error)).lower()}", where=str(path), next_step=next_step
    )
