"""CPU time of the processes inside VMs, by network namespace, apart from the CPU time of their hosts.

It is one pass over /proc. It misses processes that have ended, and softirqs of the kernel, which run in any process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_TICK = os.sysconf("SC_CLK_TCK")


def guest_seconds(holders: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds of all live processes in the network namespaces of `holders`.

    Args:
        holders: name -> pid of a process in the namespace.

    Returns:
        name -> seconds.
    """
    names = {inode: name for name, pid in holders.items() if (inode := _namespace(str(pid))) is not None}
    found = dict.fromkeys(names.values(), 0.0)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (inode := _namespace(entry)) in names:
            found[names[inode]] += _seconds(entry)
    return found


def _namespace(pid: str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None  # it has ended


def _seconds(pid: str) -> float:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK  # utime, stime: fields 14 and 15 of the file
