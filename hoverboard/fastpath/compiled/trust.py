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

JUDGED = "HOVERBOARD_JUDGED_CACHE"  # "device:inode" of the directory that was trusted outside
_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ALL_IDS = 2**32 - 1
_UID_MAP = Path("/proc/self/uid_map")


def outside_uid() -> int:
    """The number of our user outside of the user namespace that this process may be in."""
    uid = os.geteuid()
    for inside, outside, count in _uid_map():
        if inside <= uid < inside + count:
            return outside + uid - inside
    return uid


def in_user_namespace() -> bool:
    """Whether some users of the machine are not mapped here, so that their files look alike."""
    return _uid_map() != [(0, 0, _ALL_IDS)]


def _uid_map() -> list[tuple[int, int, int]]:
    try:
        rows = [tuple(map(int, line.split())) for line in _UID_MAP.read_text().splitlines()]
    except OSError:  # there is no /proc
        rows = []
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3] or [(0, 0, _ALL_IDS)]


def _owners(place: Path) -> set[int]:
    """The users whose files in `place` we run: ourselves, root, and the owner of the Python that already runs."""
    owners = {os.geteuid()}
    if not in_user_namespace():
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
    return in_user_namespace() and os.environ.get(JUDGED) == f"{found.st_dev}:{found.st_ino}"


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
