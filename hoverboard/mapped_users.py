"""Tells whether this process is the machine's root, or an ordinary user who is root of namespaces of its own.

In such a user namespace one user is mapped: oneself, to 0. All others, root as well, look like one stranger (65534;
user_namespaces(7)). So who owns a file cannot be judged there. It need not be: there the kernel grants us what our user
may do, and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

Privileges = Literal["root", "rootless"]
_UID_MAP = Path("/proc/self/uid_map")


class Users(NamedTuple):
    """Users that are mapped into a user namespace.

    Attributes:
        inside: number of the first one in there.
        outside: its number outside.
        number: how many, with the numbers that follow.
    """

    inside: int
    outside: int
    number: int


_ALL = [Users(0, 0, 2**32 - 1)]


def users_of(uid_map: str) -> list[Users]:
    """The users of a file uid_map; all if it has no line that makes sense."""
    rows = (line.split() for line in uid_map.splitlines())
    return [Users(*map(int, row)) for row in rows if len(row) == 3 and "".join(row).isdigit()] or _ALL


def _here() -> list[Users]:
    try:
        return users_of(_UID_MAP.read_text())
    except OSError:  # there is no /proc
        return _ALL


def only_one() -> bool:
    """Whether this process sees no user but its own."""
    return sum(users.number for users in _here()) == 1


def some_are_missing() -> bool:
    """Whether some users of the machine are not mapped here, so that their files look alike."""
    return _here() != _ALL


def outside_uid() -> int:
    """The number of our user outside of the user namespace that this process may be in."""
    uid = os.geteuid()
    found = (users for users in _here() if users.inside <= uid < users.inside + users.number)
    return next((users.outside + uid - users.inside for users in found), uid)


def privileges() -> Privileges:
    """The kind of testbeds that this process makes: those of the machine's root, or those of an ordinary user."""
    return "rootless" if os.geteuid() != 0 or only_one() else "root"
