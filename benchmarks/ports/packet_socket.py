"""AF_PACKET on veth: virtio-net headers as on a tap, and many frames a call by recvmmsg() and sendmmsg()."""

from __future__ import annotations

import contextlib
import socket

import numpy as np

from benchmarks.ports import libc
from benchmarks.ports.libc import Bytes, Words, nanoseconds
from benchmarks.ports.tap import FRAMES, LOST, PASSES, POLLS, VNET
from hoverboard.fastpath.compiled.compiler import compiled_loop

_SOL_PACKET = 263
_QDISC_BYPASS, _IGNORE_OUTGOING, _VNET_HDR_SZ = 20, 23, 24
_ETH_P_ALL = 3
_BUFFER = 8 << 20


def open_socket(device: str, *, bypass: bool = True) -> socket.socket:
    """A non-blocking packet socket on `device` in the calling thread's namespace."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    made.setsockopt(_SOL_PACKET, _VNET_HDR_SZ, VNET)
    made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    made.setsockopt(_SOL_PACKET, _QDISC_BYPASS, int(bypass))
    for option in (33, 32):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE
        with contextlib.suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    made.bind((device, _ETH_P_ALL))
    return made


@compiled_loop
def forward(
    pollfds: Words, inward: Words, outward: Words, vectors: Words, spin_ns: int, stop: Words, stats: Words
) -> None:
    """Move frames between two sockets until stop[0].

    Args:
        pollfds: (2,) as in tap.forward.
        inward: (batch, 8) mmsghdr vectors for receiving.
        outward: (batch, 8) mmsghdr vectors for sending, over the same buffers.
        vectors: (batch, 2) iovecs of `outward`.
        spin_ns: how long to spin before sleeping in poll().
        stop: (1,) 1 ends the loop.
        stats: counters, as in tap.forward.
    """
    spec = np.zeros(2, np.int64)
    batch = len(inward)
    last = nanoseconds(spec)
    spinning = False
    while stop[0] == 0:
        ready = libc.poll(np.uintp(pollfds.ctypes.data), np.uintp(2), np.int32(0 if spinning else 100))
        stats[POLLS] += 1
        if ready <= 0:
            spinning = spinning and nanoseconds(spec) - last < spin_ns
            continue
        stats[PASSES] += 1
        for port in range(2):
            if not pollfds[port] >> 48 & libc.POLLIN:
                continue
            fd = np.int32(pollfds[port] & 0xFFFFFFFF)
            out = np.int32(pollfds[1 - port] & 0xFFFFFFFF)
            count = libc.recvmmsg(
                fd, np.uintp(inward.ctypes.data), np.uint32(batch), np.int32(libc.MSG_DONTWAIT), np.uintp(0)
            )
            if count <= 0:
                continue
            for row in range(count):
                vectors[row, 1] = inward[row, 7] & 0xFFFFFFFF
            sent = libc.sendmmsg(out, np.uintp(outward.ctypes.data), np.uint32(count), np.int32(libc.MSG_DONTWAIT))
            if sent < count:
                stats[LOST] += count - max(sent, 0)
            stats[FRAMES] += count
        if spin_ns:
            spinning = True
            last = nanoseconds(spec)


def vectors_of(buffer: Bytes, count: int, stride: int) -> tuple[Words, Words, Words, Words]:
    """The vectors inward and its iovecs, outward and its iovecs, over the same buffers."""
    inward, inward_vectors = libc.message_vector(buffer, count, stride, stride)
    outward, outward_vectors = libc.message_vector(buffer, count, stride, stride)
    return inward, inward_vectors, outward, outward_vectors
