"""Hears when the link of a VM goes up or down, and sends prepared rtnetlink requests into a namespace.

One socket in the namespace of the fabric hears all VMs. The kernel sends it the events of each namespace that has a
number there, and says the number (NETLINK_LISTEN_ALL_NSID). So a VM costs no descriptor, and the machine's own
namespace has no part in it. rtnetlink is read and written here: pyroute2 needs ten times as long for one request.
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

from topologies.namespaces.netns import entered

# linux/netlink.h, linux/rtnetlink.h, linux/net_namespace.h, linux/if_link.h
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_SOL_NETLINK, _LISTEN_ALL_NSID, _GROUP_LINK = 270, 8, 1
_ERROR, _NEWLINK, _NEWNSID = 2, 16, 88
_REQUEST, _ACK = 1, 4
_NSID, _PID = 1, 2
_MTU, _UP = 4, 1
_HEADER, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")
_BUFFER = 4 << 20  # bytes of events that wait
_LARGEST = 1 << 16


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
        request = bytes(4) + _attribute(_NSID, number) + _attribute(_PID, pid)
        with self._lock:
            codes = _send(self._requests, _message(_NEWNSID, request))
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
        data, notes, _, _ = self._events.recvmsg(_LARGEST, socket.CMSG_SPACE(4))
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
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        end = at + length
        if length < _HEADER.size or end > len(data):
            break
        if kind == _NEWLINK and length >= _HEADER.size + _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(data, at + _HEADER.size)
            mtu = _number(data, at + _HEADER.size + _LINK.size, end, _MTU)
            found.append(LinkEvent(number, index, bool(flags & _UP), mtu))
        at = end + -end % 4
    return found


def _number(data: bytes, at: int, end: int, wanted: int) -> int:
    """The value of an attribute that is a number; 0 when it is not there."""
    while at + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if kind == wanted and size >= _ATTRIBUTE.size + 4 and at + size <= end:
            return int(struct.unpack_from("=I", data, at + _ATTRIBUTE.size)[0])
        if size < _ATTRIBUTE.size:
            break
        at += size + -size % 4
    return 0


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
    codes = []
    with contextlib.suppress(BlockingIOError):
        while True:
            answer = requests.recv(_LARGEST, socket.MSG_DONTWAIT)
            _, kind, *_ = _HEADER.unpack_from(answer)
            if kind == _ERROR:
                codes.append(-struct.unpack_from("=i", answer, _HEADER.size)[0])
    return codes


def _message(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK, 1, 0) + body


def _attribute(kind: int, value: int) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + 4, kind) + struct.pack("=I", value)
