"""Works in the mount namespace of a node: binds files and directories there, where no other process sees them.

Nothing is mounted in the machine's own namespace, and no mount spreads to it: the machine's files stay as they are.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hoverboard.contract.errors import MachineError

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000  # linux/sched.h
# linux/mount.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 1 << 18
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32

_libc = ctypes.CDLL(None, use_errno=True)
R = TypeVar("R")


def run_inside(pid: int, work: Callable[[], R]) -> R:
    """Do `work` in the mount namespace of process `pid`; return what it returns, and raise what it raises.

    A new thread does it, and ends then. The kernel lets no thread enter that shares its root directory with others.

    Raises:
        MachineError: the process is gone, its namespace is our own, or cannot be entered.
    """

    def enter_and_work() -> R:
        try:
            target = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise MachineError(
                "the process that keeps the namespaces of a node has ended", where=f"pid {pid}",
                next_step="see `hoverboard status`",
            ) from error  # fmt: skip
        try:
            if os.path.samestat(os.fstat(target), os.stat("/proc/thread-self/ns/mnt")):
                raise MachineError(
                    "a node has no mount namespace of its own: nothing is mounted", where=f"pid {pid}",
                    next_step="check that `mnexec -n true` works on this machine",
                )  # fmt: skip
            _check(_libc.unshare(_CLONE_FS), "enter a mount namespace")
            _check(_libc.setns(target, _CLONE_NEWNS), "enter a mount namespace")
        finally:
            os.close(target)
        # mnexec has done this, but only prints a line when it fails.
        _check(_mount(None, Path("/"), _MS_REC | _MS_PRIVATE), "keep mounts in a namespace")
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="mounts") as thread:
        return thread.submit(enter_and_work).result()


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Show `source` at `target`, with what is mounted below it; both are files, or both are directories.

    Args:
        source: the file or directory. Its content may change later, and its name may be removed.
        target: where it is shown.
        read_only: it cannot be written to at `target`.

    Raises:
        MachineError: the kernel rejects it.
        FileNotFoundError: `source` is gone.
    """
    _check(_mount(source, target, _MS_BIND | _MS_REC), f"show {source} at {target}")
    if read_only:
        kept = os.statvfs(target).f_flag & (_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | kept
        _check(_mount(None, target, flags), f"make {target} read-only")


def cover(directory: Path) -> None:
    """Cover a directory with an empty one in memory, and show there all that it has.

    So names can be added to it that exist in this mount namespace alone.

    Raises:
        MachineError: the kernel rejects it.
    """
    covered = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(_mount("tmpfs", directory, 0, b"tmpfs", b"mode=755"), f"make a directory in memory at {directory}")
        with os.scandir(covered) as entries:
            for entry in entries:
                _show_again(covered, entry, directory / entry.name)
    finally:
        os.close(covered)


def _show_again(covered: int, entry: os.DirEntry[str], place: Path) -> None:
    """Show an entry of the covered directory, which has no path any more, at `place`."""
    if entry.is_symlink():
        place.symlink_to(os.readlink(entry.name, dir_fd=covered))
        return
    if entry.is_dir():
        place.mkdir()
    else:
        place.touch()
    try:
        bind(f"/proc/thread-self/fd/{covered}/{entry.name}", place)
    except FileNotFoundError:  # removed meanwhile
        place.rmdir() if place.is_dir() else place.unlink()


def _mount(
    source: str | Path | None, target: str | Path, flags: int, kind: bytes | None = None, data: bytes | None = None
) -> int:
    place = None if source is None else os.fsencode(source)
    return int(_libc.mount(place, os.fsencode(target), kind, ctypes.c_ulong(flags), data))


def _check(code: int, what: str) -> None:
    if code == 0:
        return
    number = ctypes.get_errno()
    if number == errno.ENOENT:
        raise FileNotFoundError(number, os.strerror(number), what)
    raise MachineError(
        f"cannot {what}: {os.strerror(number)}", next_step="run as root, outside of a restricted container"
    )
