"""The system calls for namespaces and mounts that Python 3.11 does not have: `setns`, `unshare` and `mount`, by libc.

Each raises OSError with the kernel's code, and the call in place of a file name. The callers say what it means.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# linux/sched.h
CLONE_FS, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x200, 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 0x1000, 0x4000, 1 << 18, 1 << 19

_libc = ctypes.CDLL(None, use_errno=True)


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace of an open file; `kind` is its CLONE_ bit; 0: any.

    Raises:
        OSError: the kernel rejects it.
    """
    _check(_libc.setns(fd, kind), "setns")


def unshare(kinds: int) -> None:
    """Give the calling thread new namespaces, or attributes of its own, by CLONE_ bits.

    Raises:
        OSError: the kernel rejects it.
    """
    _check(_libc.unshare(kinds), "unshare")


def mount(
    source: str | Path | None, target: str | Path, flags: int, kind: bytes | None = None, data: bytes | None = None
) -> None:
    """Mount, bind or remount (mount(2)) in the mount namespace of the calling thread.

    Args:
        source: what to mount; None: the flags need none.
        target: where.
        flags: MS_ bits.
        kind: of the file system.
        data: its options.

    Raises:
        OSError: the kernel rejects it; FileNotFoundError: source or target is gone.
    """
    place = None if source is None else os.fsencode(source)
    _check(_libc.mount(place, os.fsencode(target), kind, ctypes.c_ulong(flags), data), f"mount on {target}")


def _check(code: int, what: str) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
