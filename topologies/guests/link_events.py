"""Hears when the link of a VM goes up or down, and sends prepared rtnetlink requests into a namespace.

One socket in the namespace of the fabric hears all VMs. The kernel sends it the events of each namespace that has a
number there, and says the number (NETLINK_LISTEN_ALL_NSID). So a VM costs no descriptor, and the machine's own
namespace has no part in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Iterable
from typing import NamedTuple

from topologies.namespaces import rtnetlink
from topologies.namespaces.netns import entered

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_SOL_NETLINK, _LISTEN_ALL_NSID, _GROUP_LINK = 270, 8, 1  # linux/netlink.h, linux/rtnetlink.h
_NSID, _PID = 1, 2  # linux/net_namespace.h
_MTU, _UP = 4, 1  # linux/if_link.h, linux/if.h
_BUFFER = 4 << 20  # bytes of events that wait


class LinkEvent(NamedTuple):
    """The state of a link after it changed.

    Attributes:
        number: of the namespace (`LinkEvents.hear`).
        link: its index there.
        up: whether it is up.
        mtu: its MTU.
    """

    number: int
    link: int
    up: bool
    mtu: int


class LinkEvents:
    """The changes of links in the namespaces that have a number.

    Args:
        pid: a process in the namespace that keeps the numbers: the fabric.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        with entered(pid):
            self._requests = _open(0)
        self._events = self._open_events()
        self._wake = os.eventfd(0)
        self._lock = threading.Lock()

    def hear(self, number: int, pid: int) -> None:
        """Hear the links in the namespace of a process from now on; it has this number until it ends.

        Raises:
            OSError: the process is gone, or its namespace has a number already.
        """
        wanted = ((_NSID, number), (_PID, pid))
        body = bytes(4) + b"".join(rtnetlink.attribute(kind, rtnetlink.number(value)) for kind, value in wanted)
        with self._lock:
            codes = _send(self._requests, rtnetlink.message(rtnetlink.NEWNSID, body, rtnetlink.REQUEST | rtnetlink.ACK))
        if codes != [0]:
            code = codes[0] if codes else errno.EIO
            raise OSError(code, os.strerror(code))

    def read(self) -> list[LinkEvent] | None:
        """Wait for events; None after `stop`.

        Raises:
            OSError: with ENOBUFS, events were lost.
        """
        ready, _, _ = select.select([self._events.fileno(), self._wake], [], [])
        if self._wake in ready:
            return None
        data, notes, _, _ = self._events.recvmsg(rtnetlink.LARGEST, socket.CMSG_SPACE(4))
        number = next((struct.unpack("=i", value)[0] for _, kind, value in notes if kind == _LISTEN_ALL_NSID), None)
        return [] if number is None else link_events(number, data)

    def reopen(self, pause: float) -> None:
        """Hear by a new socket, after a pause in seconds; only the thread that reads may call it.

        The namespaces keep their numbers. `stop` ends the pause.

        Raises:
            OSError: the process that keeps the numbers is gone, or there is no socket.
        """
        select.select([self._wake], [], [], pause)
        opened = self._open_events()
        self._events.close()
        self._events = opened

    def _open_events(self) -> socket.socket:
        with entered(self._pid):
            opened = _open(_GROUP_LINK)
        opened.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        with contextlib.suppress(PermissionError):  # in a user namespace
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        return opened

    def stop(self) -> None:
        """End `read` in another thread."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close the descriptors; no thread may read any more."""
        self._events.close()
        self._requests.close()
        os.close(self._wake)


def link_events(number: int, data: bytes) -> list[LinkEvent]:
    """The events in a datagram of the kernel; messages that say something else are left out."""
    found = []
    for kind, body in rtnetlink.read_messages(data):
        if kind == rtnetlink.NEWLINK and len(body) >= rtnetlink.LINK.size:
            _, _, index, flags, _ = rtnetlink.LINK.unpack_from(body)
            found.append(LinkEvent(number, index, bool(flags & _UP), _mtu(body)))
    return found


def _mtu(body: bytes) -> int:
    """The MTU in the body of a message about a link; 0 when it is not there."""
    values = (value for kind, value in rtnetlink.read_attributes(body, rtnetlink.LINK.size) if kind == _MTU)
    return next(filter(None, map(rtnetlink.read_number, values)), 0)


def send_prepared(pid: int, messages: Iterable[bytes]) -> list[int]:
    """Send rtnetlink requests in the namespace of a process; for the rest see `send`."""
    with entered(pid):
        return send(messages)


def send(messages: Iterable[bytes]) -> list[int]:
    """Send rtnetlink requests in the namespace of the calling thread; return the error code of each, 0 for none.

    The kernel has done all of them when this returns.

    Args:
        messages: each one or more requests that ask for an answer.
    """
    with _open(0) as requests:
        return [code for message in messages for code in _send(requests, message)]


def _open(groups: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.bind((0, groups))
    return made


def _send(requests: socket.socket, message: bytes) -> list[int]:
    """Send one datagram of requests, and read the answers: they wait already when `send` returns."""
    requests.send(message)
    codes: list[int] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            answers = rtnetlink.read_messages(requests.recv(rtnetlink.LARGEST, socket.MSG_DONTWAIT))
            codes += [code for answer in answers if (code := rtnetlink.read_code(answer)) is not None]
    return codes
