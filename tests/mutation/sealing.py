"""Namespaces of its own for a forked process: what a mutant ends or deletes is not what the others need.

The process gets a process namespace, in which it is not the first, and a mount namespace: the checkout can be read
only, `/dev/shm` and `/run` are new and empty, and go with it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

# <sched.h>, <sys/mount.h>, <sys/prctl.h>
_NEWNS, _NEWPID = 0x20000, 0x20000000
_RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE, _RELATIME = 1, 32, 4096, 16384, 1 << 18, 1 << 21
_PARENT_DEATH = 1
# Exit codes: the process crashed; it could not be sealed, which says nothing about a mutant.
CRASHED, UNSEALED = 70, 71

_libc = ctypes.CDLL(None, use_errno=True)


def sealed(work: Callable[[], int], checkout: Path) -> int:
    """Run `work` in namespaces of its own, and give its exit code (CRASHED for a signal). Call it in a forked process.

    Args:
        checkout: stays as it is; all that is mounted in there as well.
    """
    _called(_libc.unshare(_NEWNS | _NEWPID), "unshare")
    first = os.fork()
    if first:
        return _ended(os.waitpid(first, 0)[1])
    code = UNSEALED
    try:
        # The first process of its namespace: the kernel lets no signal from inside end it.
        _called(_libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0), "prctl")
        _mounts(checkout)
        code = _second(work)
    finally:
        os._exit(code)


def _second(work: Callable[[], int]) -> int:
    second = os.fork()
    if second == 0:
        code = CRASHED
        try:
            code = work()
        finally:
            os._exit(code)
    while True:
        ended, status = os.wait()  # also of those that lost their parent
        if ended == second:
            return _ended(status)


def _ended(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else CRASHED


def _mounts(checkout: Path) -> None:
    _mount("none", "/", None, _REC | _PRIVATE)
    places = _inside(checkout)
    if str(checkout) not in places:
        _mount(str(checkout), str(checkout), None, _BIND | _REC)
        os.chdir(os.getcwd())
        places = _inside(checkout)
    for place in places:
        kept = os.statvfs(place).f_flag
        flags = kept & 0xC0E | (_RELATIME if kept & 4096 else 0)  # a user namespace may not take these away
        _mount("none", place, None, _REMOUNT | _BIND | _RDONLY | flags)
    # Numba writes beside what it has read: into a copy.
    cache = os.environ.get("NUMBA_CACHE_DIR", "")
    for place in ("/dev/shm", "/run"):
        _mount("tmpfs", place, "tmpfs", 0)
    if os.path.isdir(cache) and Path(cache).is_relative_to(checkout):
        copy = shutil.copytree(cache, "/dev/shm/numba")
        _mount(copy, cache, None, _BIND)
    _mount("proc", "/proc", "proc", 0)


def _inside(checkout: Path) -> list[str]:
    """Where something is mounted, the checkout and below."""
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    places = dict.fromkeys(row.split()[4].encode().decode("unicode_escape") for row in rows)
    return [place for place in places if Path(place).is_relative_to(checkout)]


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    done = _libc.mount(
        source.encode(), os.fsencode(target), None if kind is None else kind.encode(), ctypes.c_ulong(flags), None
    )
    _called(done, f"mount {target}")


def _called(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
