"""Host names of nodes, files that only a node sees, and the command that enters all namespaces of a node.

A node has a network, a mount and a UTS namespace of its own. Nothing here changes the machine's own host name or files.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from hoverboard import programs
from hoverboard.contract.errors import MachineError
from topologies.namespaces import kernel_calls, mount_namespace, netns


def entering(pid: int, *, detached: bool = False) -> list[str]:
    """The first words of a command that runs in all namespaces of the node that the process `pid` keeps.

    mnexec enters the network and the mount namespace, and stays in the caller's working directory. It knows no UTS
    namespace, so nsenter enters that one. All become the command in the end: its pid is the pid of the first.

    The command has the mark of the run in its environment. So it is found when the run goes down, even if it has left
    all namespaces of the node.

    Args:
        pid: the process.
        detached: without the caller's terminal, as Mininet's `popen` does.

    Raises:
        MachineError: one of the two is not installed.
    """
    for tool, package in (("mnexec", "mininet"), ("nsenter", "util-linux")):
        if programs.find(tool) is None:
            raise MachineError(f"{tool} is not installed", next_step=f"apt-get install {package}")
    return [*entering_uts(pid), *marking(pid), "mnexec", "-da" if detached else "-a", str(pid)]


def marking(pid: int) -> list[str]:
    """The first words of a command that has the mark of the process `pid` in its environment; none without a mark."""
    begin = f"{netns.MARK_VARIABLE}=".encode()
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it is gone, or another user's: whoever enters it is told then
        return []
    return next((["env", os.fsdecode(word)] for word in words if word.startswith(begin) and word != begin), [])


def entering_uts(pid: int) -> list[str]:
    """The first words of a command that runs in the UTS namespace of a node only: it sees the node's host name."""
    return ["nsenter", "--target", str(pid), "--uts"]


@contextlib.contextmanager
def host_name(name: str) -> Iterator[None]:
    """Run the block in a new UTS namespace with this host name; processes that the block starts stay in it.

    Only the calling thread enters it.

    Raises:
        MachineError: the kernel rejects the namespace or the name.
    """
    home = os.open("/proc/thread-self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _errors(f"cannot make a namespace for the host name {name}"):
            kernel_calls.unshare(kernel_calls.CLONE_NEWUTS)
        try:
            socket.sethostname(name)
            yield
        finally:
            with _errors("cannot return from the namespace of a host name"):
                kernel_calls.setns(home, kernel_calls.CLONE_NEWUTS)
    finally:
        os.close(home)


def bind_files(pid: int, files: Mapping[Path, Path]) -> None:
    """Show other files in place of the machine's, read-only, in the mount namespace of a process and nowhere else.

    A target that this machine does not have is left out: nothing can be put in its place without writing to it.

    Args:
        pid: the process; its mount namespace is a node's own, and has the directories of the run.
        files: target -> the file that is seen there. Its content may change later, and its name may be removed.

    Raises:
        MachineError: the process is gone, has the same mount namespace as we, or the kernel rejects a mount.
    """

    def show() -> None:
        for target, source in files.items():
            if target.exists():
                mount_namespace.bind(source, target, read_only=True)

    mount_namespace.run_inside(pid, show)


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Raise an error of the kernel inside the block as a MachineError that says `what`."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{what}: {error.strerror}", next_step="run as root, outside of a restricted container"
        ) from error
