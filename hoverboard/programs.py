"""Finds programs, also where PATH does not lead: Open vSwitch, ip, ethtool and tcpdump can be in a sbin directory.

Cron, Debian's `su` and some users' shells leave those directories out of PATH. All code looks for programs here.
"""

from __future__ import annotations

import os
import shutil

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """PATH with the sbin directories at its end, and without relative and empty parts.

    Those mean the current directory, which anybody may have filled with programs of these names.
    """
    given = os.environ.get("PATH") or os.defpath
    parts = [part for part in given.split(os.pathsep) if os.path.isabs(part)]
    return os.pathsep.join(dict.fromkeys([*parts, *SBIN]))


def complete_path() -> None:
    """Add the sbin directories to PATH, for this process and all that it starts."""
    os.environ["PATH"] = search_path()


def find(name: str) -> str | None:
    """The path of a program; None if it is not installed."""
    return shutil.which(name, path=search_path())
