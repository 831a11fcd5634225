"""Works in the mount namespace of a node: binds files and directories there, where no other process sees them.

A mount namespace of a node propagates nothing (`mnexec -n`), so that the machine's own files stay as they are.
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
_MS_BIND, _MS_REC = 0x1000, 0x4000  # linux/mount.h

_libc = ctypes.CDLL(None, use_errno=True)
R = TypeVar("R")


def run_inside(pid: int, work: Callable[[], R]) -> R:
    """Do `work` in the mount namespace of process `pid`; return what it returns, and raise what it raises.

    A new thread does it, and ends then. The kernel lets no thread enter that shares its root directory with others.

    Raises:
        MachineError: the namespace cannot be entered.
    """

    def enter_and_work() -> R:
        target = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(_CLONE_FS), "enter a mount namespace")
            _check(_libc.setns(target, _CLONE_NEWNS), "enter a mount namespace")
        finally:
            os.close(target)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="mounts") as thread:
        return thread.submit(enter_and_work).result()


def bind(source: str | Path, target: str | Path) -> None:
    """Show `source` at `target`, with what is mounted below it; both are files, or both are directories.

    Raises:
        MachineError: the kernel rejects it.
        FileNotFoundError: `source` is gone.
    """
    done = _libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND | _MS_REC), None)
    _check(done, f"show {source} at {target}")


def cover(directory: Path) -> None:
    """Cover a directory with an empty one in memory, and show there all that it has.

    So names can be added to it that exist in this mount namespace alone.

    Raises:
        MachineError: the kernel rejects it.
    """
    covered = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        done = _libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", ctypes.c_ulong(0), b"mode=755")
        _check(done, f"make a directory in memory at {directory}")
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


def _check(code: int, what: str) -> None:
    if code == 0:
        return
    number = ctypes.get_errno()
    if number == errno.ENOENT:
        raise FileNotFoundError(number, os.strerror(number), what)
    raise MachineError(
        f"cannot {what}: {os.strerror(number)}", next_step="run as root, outside of a restricted container"
    )
