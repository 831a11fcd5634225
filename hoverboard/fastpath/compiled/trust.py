"""Judges who else can write a directory of compiled code: what is in it runs as our user.

In a user namespace with one user in its map, the files of root and those of a stranger look alike. Both belong to the
"overflow" user. So less is trusted there (`trusted`). A directory that only its owner's number speaks for is judged
before the process enters the namespace (`judge`). This module knows no Numba: a Python with threads cannot enter.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import MutableMapping
from pathlib import Path

from hoverboard.mapped_users import some_are_missing

JUDGED = "HOVERBOARD_JUDGED_CACHE"  # "device:inode" of the directory that was trusted outside
_WRITE = stat.S_IWGRP | stat.S_IWOTH


def _owners(place: Path) -> set[int]:
    """The users whose files in `place` we run: ourselves, root, and the owner of the Python that already runs."""
    owners = {os.geteuid()}
    if not some_are_missing():
        owners.add(0)
    prefix = Path(sys.prefix).resolve()
    if place.is_relative_to(prefix):
        owners.add(prefix.stat().st_uid)
    return owners


def _only_theirs(found: os.stat_result, owners: set[int]) -> bool:
    return found.st_uid in owners and not found.st_mode & _WRITE


def judge(environment: MutableMapping[str, str]) -> None:
    """Note in `environment` that $NUMBA_CACHE_DIR is trusted, for the processes in a user namespace that get it.

    Call it outside, before the namespace is entered. A directory that is not trusted, or missing, is not noted.
    """
    environment.pop(JUDGED, None)
    given = environment.get("NUMBA_CACHE_DIR")
    if given and trusted(Path(given)):
        found = Path(given).stat()
        environment[JUDGED] = f"{found.st_dev}:{found.st_ino}"


def trusted(directory: Path) -> bool:
    """Whether `directory` exists and only root, we, or the owner of our Python can write it.

    In a user namespace root does not count by its number. There a directory of another user counts if it is in our
    Python's environment and has the same owner, or if `judge` noted it outside.
    """
    try:
        place = directory.resolve()
        found = place.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & _WRITE:
        return False
    return _only_theirs(found, _owners(place)) or _judged(found)


def _judged(found: os.stat_result) -> bool:
    return some_are_missing() and os.environ.get(JUDGED) == f"{found.st_dev}:{found.st_ino}"


def read_trusted(path: Path, base: Path) -> bytes | None:
    """The content of a file below the trusted directory `base`.

    Returns:
        None if it is missing, cannot be read, is no regular file, or if others can write it or a directory on the way.
    """
    owners = _owners(base.resolve()) | {base.stat().st_uid} if base.is_dir() else set()
    for above in path.relative_to(base).parents:
        try:
            found = (base / above).stat()
        except OSError:
            return None
        if above != Path() and not _only_theirs(found, owners):
            return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not _only_theirs(found, owners):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(descriptor)
