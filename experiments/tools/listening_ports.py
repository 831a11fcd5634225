"""Reads the listening TCP sockets of a network namespace from /proc: is a server ready, and which port is free?"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_LISTEN = "0A"


def parse_listening(table: str) -> dict[int, int]:
    """The ports in state LISTEN of a /proc/PID/net/tcp table, each with the inode of its socket."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            found[int(fields[1].rpartition(":")[2], 16)] = int(fields[9])
    return found


def listening(pid: int) -> dict[int, int]:
    """The listening ports, IPv4 and IPv6, in the network namespace of `pid`, each with its inode."""
    found: dict[int, int] = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            found |= parse_listening(Path(f"/proc/{pid}/net/{name}").read_text())
    return found


def owned(pid: int) -> set[int]:
    """The inodes of the sockets that a process has open."""
    inodes = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    return inodes


def first_free(taken: Iterable[int], start: int) -> int:
    """The lowest port from `start` that is not in `taken`."""
    used = set(taken)
    return next(port for port in range(start, 65536) if port not in used)
