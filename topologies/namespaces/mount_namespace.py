"""Works in the mount namespace of a node: binds files and directories there, where no other process sees them.

Nothing is mounted in the machine's own namespace, and no mount spreads to it: the machine's files stay as they are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hoverboard.contract.errors import MachineError
from topologies.namespaces.kernel_calls import (
    CLONE_FS,
    CLONE_NEWNS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    mount,
    setns,
    unshare,
)

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
            with _errors("enter a mount namespace"):
                unshare(CLONE_FS)
                setns(target, CLONE_NEWNS)
        finally:
            os.close(target)
        # mnexec has done this, but only prints a line when it fails.
        with _errors("keep mounts in a namespace"):
            mount(None, Path("/"), MS_REC | MS_PRIVATE)
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
    with _errors(f"show {source} at {target}"):
        mount(source, target, MS_BIND | MS_REC)
    if read_only:
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        flags = MS_BIND | MS_REMOUNT | MS_RDONLY | kept
        with _errors(f"make {target} read-only"):
            mount(None, target, flags)


def cover(directory: Path) -> None:
    """Cover a directory with an empty one in memory, and show there all that it has.

    So names can be added to it that exist in this mount namespace alone.

    Raises:
        MachineError: the kernel rejects it.
    """
    covered = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _errors(f"make a directory in memory at {directory}"):
            mount("tmpfs", directory, 0, b"tmpfs", b"mode=755")
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


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Raise an error of the kernel inside the block with `what` was to be done: FileNotFoundError, or MachineError."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, what) from error
    except OSError as error:
        raise MachineError(
            f"cannot {what}: {error.strerror}", next_step="run as root, outside of a restricted container"
        ) from error
