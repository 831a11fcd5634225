"""Tells whether this process is the machine's root, or an ordinary user who is root of namespaces of its own.

In such a user namespace one user is mapped: oneself, to 0. All others, root as well, look like one stranger (65534;
user_namespaces(7)). So who owns a file cannot be judged there. It need not be: there the kernel grants us what our user
may do, and nothing else.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

Privileges = Literal["root", "rootless"]


@cache
def only_one() -> bool:
    """Whether this process sees no user but its own."""
    return mapped(Path("/proc/self/uid_map").read_text()) == 1


def mapped(uid_map: str) -> int:
    """How many users a map of user ids has: lines of first inside, first outside, count."""
    return sum(int(line.split()[2]) for line in uid_map.splitlines())


def privileges() -> Privileges:
    """The kind of testbeds that this process makes: those of the machine's root, or those of an ordinary user."""
    return "rootless" if os.geteuid() != 0 or only_one() else "root"
