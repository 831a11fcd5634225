"""Frames with a number, and a generator that sends many of them with one system call."""

from __future__ import annotations

import ctypes
import socket
import struct
import time

from benchmarks.harness.pauses import pause

ETHER_TYPE = 0x88B5  # local experimental
SLICE = 0.0002  # seconds between two bursts of the generator


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("padding", ctypes.c_int), ("sent", ctypes.c_uint32),
    )  # fmt: skip


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)


class Generator:
    """Sends equal frames out of a packet socket, many with one system call."""

    MOST = 512

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._sock = sock
        self._frame = ctypes.create_string_buffer(frame(0, size), size)
        self._vector = _Vector(ctypes.addressof(self._frame), size)
        self._messages = (_Message * self.MOST)()
        for message in self._messages:
            message.vectors, message.vector_count = ctypes.addressof(self._vector), 1

    def run(self, per_second: float, seconds: float) -> int:
        """Send at an even rate; returns the number of frames that the socket took.

        After a pause of this process, it sends at most MOST frames more than the rate.
        """
        begin = time.perf_counter()
        sent = offered = 0
        while (passed := time.perf_counter() - begin) < seconds:
            wanted = min(int(passed * per_second) - offered, self.MOST)
            offered = max(offered, int(passed * per_second) - self.MOST)
            if wanted > 0:
                offered += wanted
                sent += max(0, _libc.sendmmsg(self._sock.fileno(), self._messages, wanted, 0))
            if int((time.perf_counter() - begin) * per_second) - offered < 64:
                pause(SLICE)
        return sent


def frame(number: int, size: int) -> bytes:
    """An Ethernet frame with a number in its payload."""
    head = bytes.fromhex("ffffffffffff020000000001") + struct.pack("!HQ", ETHER_TYPE, number)
    return head.ljust(size, b"\0")


def number_of(received: bytes) -> int:
    """The number in a frame of `frame`."""
    return int(struct.unpack_from("!Q", received, 14)[0])
