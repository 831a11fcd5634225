"""Sends and receives a stream of small UDP datagrams, many in each system call (sendmmsg, recvmmsg).

A script that runs inside a node's namespace and uses the standard library only. Python code runs once
for 64 datagrams. That is about 20 ns a datagram, far less than the kernel needs for it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

BATCH = 64
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER = 16 << 20
_PAUSE_US = 50_000  # the receiver reads its clock at least this often
_FIRST_WAIT = 10.0  # seconds for the first datagram

_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)), ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int),
    ]  # fmt: skip


class _Message(ctypes.Structure):
    """struct mmsghdr: a header, and the length of the datagram."""

    _fields_ = [("header", _Header), ("length", ctypes.c_uint)]


class _Batch:
    """BATCH messages of `size` bytes each, all in one buffer. Keeps the memory that the kernel uses alive."""

    def __init__(self, size: int) -> None:
        self.buffer = ctypes.create_string_buffer(size)
        self.iovec = _Iovec(ctypes.cast(self.buffer, ctypes.c_void_p), size)
        self.messages = (_Message * BATCH)()
        for message in self.messages:
            message.header.iov = ctypes.pointer(self.iovec)
            message.header.iov_length = 1


def _open(address: str | None) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if address is not None:
        made.bind((address, 0))
    return made


def receive(address: str, seconds: float, omit: float) -> dict[str, float]:
    """Count the datagrams of `seconds`, from `omit` seconds after the first one. Listens at `address`."""
    with _open(address) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:  # an ordinary user's run: as much as net.core.rmem_max of the machine allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, _PAUSE_US))
        port = sock.getsockname()[1]
        print(json.dumps({"port": port}), flush=True)
        batch, fd, now = _Batch(2048), sock.fileno(), time.monotonic
        recvmmsg, messages = _libc.recvmmsg, batch.messages
        give_up = now() + _FIRST_WAIT
        total = 0
        # A call returns a whole batch, or fewer datagrams after a pause. The kernel waits.
        while not total:
            total = max(0, recvmmsg(fd, messages, BATCH, 0, None))
            if not total and now() > give_up:
                raise TimeoutError(f"no datagram came for {_FIRST_WAIT:g} s")
        first = now()
        start, end = first + omit, first + omit + seconds
        counted, began, moment = 0, first, first
        while moment < end:
            got = recvmmsg(fd, messages, BATCH, 0, None)
            moment = now()
            if got > 0:
                total += got
                if moment >= start:
                    counted += got
            if moment < start:
                began = moment
        return {
            "delivered": counted,
            "seconds": moment - began,
            "delivered_pps": counted / (moment - began),
            "dropped_at_socket": dropped(Path("/proc/thread-self/net/udp").read_text(), port),
        }


def dropped(table: str, port: int) -> int:
    """The number of datagrams that the full socket at `port` dropped, from the text of /proc/net/udp."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return int(fields[-1])
    return 0


def send(address: str, port: int, seconds: float, omit: float, size: int, flows: int, rate: float) -> dict[str, float]:
    """Send datagrams, and count those that the kernel accepts in the window that counts.

    Args:
        address: the receiver's address.
        port: the receiver's port.
        seconds: the length of the window that counts.
        omit: seconds before this window.
        size: bytes of payload.
        flows: the number of sockets, each with another source port, used in turn.
        rate: datagrams per second; 0: as fast as possible.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_open(None)) for _ in range(flows)]
        for sock in sockets:
            sock.connect((address, port))
        batch, now, sendmmsg = _Batch(size), time.monotonic, _libc.sendmmsg
        descriptors, messages = [sock.fileno() for sock in sockets], batch.messages
        offered, refused, sent, turn = 0, 0, 0, 0
        begun = moment = now()
        start, end = begun + omit, begun + omit + seconds
        counting_from = begun
        while moment < end:
            if rate:
                due = rate * (moment - begun) - sent
                if due < BATCH:
                    # Longer waits would make larger bursts, and could pass the end of the window.
                    select.select([], [], [], min((BATCH - due) / rate, 0.05))
                    moment = now()
                    continue
            took = sendmmsg(descriptors[turn], messages, BATCH, 0)
            moment = now()
            turn = (turn + 1) % flows
            if took > 0:
                sent += took
                if moment >= start:
                    offered += took
            elif (code := ctypes.get_errno()) in (errno.ENOBUFS, errno.EAGAIN, errno.ECONNREFUSED):
                refused += 1
            else:
                raise OSError(code, os.strerror(code))
            if moment < start:
                counting_from = moment
        span = moment - counting_from
        return {"offered": offered, "seconds": span, "offered_pps": offered / span, "refused_calls": refused}


def main() -> int:
    """Run `python packet_rate_tool.py receive|send ...`. Prints JSON documents on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["receive", "send"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--omit", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=18)
    parser.add_argument("--flows", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--limit", type=int, default=60)
    given = parser.parse_args()
    signal.alarm(given.limit)  # the parent process may be gone
    gc.disable()
    try:
        if given.role == "receive":
            found = receive(given.address, given.seconds, given.omit)
        else:
            found = send(
                given.address, given.port, given.seconds, given.omit, given.size, given.flows, given.rate
            )  # fmt: skip
    except OSError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
