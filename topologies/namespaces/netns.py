"""Enters network namespaces, and reads and writes the mark of a namespace: the alias of its `lo`.

Every namespace has a `lo` from its first moment, and the alias lives as long as the namespace. So the mark
names the run of a namespace even when all files of the run are gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from hoverboard.contract.errors import MachineError
from topologies.namespaces import kernel_calls, rtnetlink

MARK_VARIABLE = "HOVERBOARD_MARK"  # in the environment of processes (topologies.processes.marks)
_IFALIAS, _IFALIAS_LONGEST = 20, 255  # linux/if_link.h
_LO = 1  # index of `lo` in every namespace


@contextlib.contextmanager
def entered(place: int | Path) -> Iterator[None]:
    """Run the block in another network namespace; only the calling thread enters it (setns is per thread).

    Args:
        place: a pid, or a file that names a namespace.

    Raises:
        OSError: the process or the file is gone.
        MachineError: we have no permission.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        path = f"/proc/{place}/ns/net" if isinstance(place, int) else place
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(fd: int) -> None:
    try:
        kernel_calls.setns(fd, kernel_calls.CLONE_NEWNET)
    except OSError as error:
        raise MachineError(
            f"cannot enter a network namespace: {error.strerror}",
            next_step="run as root, outside of a restricted container",
        ) from error


def read_mark(place: int | Path) -> str:
    """The mark of a namespace; "" when it has no mark, is gone, or we have no permission."""
    try:
        with entered(place):
            reply = _request(rtnetlink.GETLINK, rtnetlink.REQUEST)
    except (OSError, MachineError):
        return ""
    return _alias(reply)


def write_mark(place: int | Path, mark: str) -> None:
    """Write the mark of a namespace; "" removes it.

    Raises:
        ValueError: the mark is too long for the kernel.
        OSError, MachineError: the namespace cannot be entered, or the kernel rejects the mark.
    """
    text = mark.encode()
    if len(text) > _IFALIAS_LONGEST:
        raise ValueError(f"a mark of {len(text)} bytes is too long: the kernel allows {_IFALIAS_LONGEST} bytes")
    with entered(place):
        reply = _request(rtnetlink.SETLINK, rtnetlink.REQUEST | rtnetlink.ACK, rtnetlink.attribute(_IFALIAS, text))
    code = next(filter(None, map(rtnetlink.read_code, rtnetlink.read_messages(reply))), 0)
    if code:
        raise OSError(code, os.strerror(code))


def _request(kind: int, flags: int, attributes: bytes = b"") -> bytes:
    """Send the kernel a request about `lo` of the calling thread's namespace; return its answer."""
    body = rtnetlink.LINK.pack(socket.AF_UNSPEC, 0, _LO, 0, 0) + attributes
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as route:
        route.send(rtnetlink.message(kind, body, flags))
        return route.recv(rtnetlink.LARGEST)


def _alias(reply: bytes) -> str:
    """The alias in an RTM_NEWLINK message; "" when it has no alias."""
    for kind, body in rtnetlink.read_messages(reply):
        if kind == rtnetlink.NEWLINK:
            for what, value in rtnetlink.read_attributes(body, rtnetlink.LINK.size):
                if what == _IFALIAS:
                    return value.rstrip(b"\0").decode(errors="replace")
    return ""
