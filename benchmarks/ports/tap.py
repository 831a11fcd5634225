"""Forwarding by read(), write() and poll(): taps, and packet sockets with the same virtio-net header.

This is the engine's own way, without its other work. Between a VM and an uplink a frame gets a shim in place of the
Geneve header. The shim is an outer Ethernet header, with the virtio-net header behind it.
"""

from __future__ import annotations

import fcntl
import os
import struct

import numpy as np

from benchmarks.ports import libc
from benchmarks.ports.libc import Bytes, Words, nanoseconds
from hoverboard.contract.errors import MachineError
from hoverboard.fastpath.compiled.compiler import compiled, compiled_loop

VNET = 12
SHIM = 14 + VNET
HEADROOM = 128
SLOT = 65_792
BATCH = 32
BATCH_BYTES = 1 << 16
# Words of stats[]
FRAMES, PASSES, POLLS, LOST = range(4)
EVENTS = 64
# Spinning pays as long as more than MISS of MISS + 1 spins find a frame. Otherwise every PROBE-th pass
# gives credit for TRIES spins.
SCORE_MOST, MISS, PROBE, TRIES = 16, 4, 256, 3
MOST_FDS = 65_536

_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ, _TUNSETSNDBUF = 0x400454CA, 0x400454D0, 0x400454D8, 0x400454D4
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
IFF_NAPI, IFF_NAPI_FRAGS, IFF_MULTI_QUEUE = 0x0010, 0x0020, 0x0100
OFFLOADS = 0x01 | 0x02 | 0x04 | 0x20 | 0x40  # CSUM TSO4 TSO6 USO4 USO6


def open_queue(name: str, flags: int = 0, offloads: int = OFFLOADS, sndbuf: int | None = None) -> int:
    """The non-blocking descriptor of a new queue of tap `name` in the calling thread's namespace."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET))
        fcntl.ioctl(fd, _TUNSETOFFLOAD, offloads)
        if sndbuf is not None:
            fcntl.ioctl(fd, _TUNSETSNDBUF, struct.pack("i", sndbuf))
    except OSError as error:
        os.close(fd)
        raise MachineError(f"cannot make the tap {name}: {error.strerror}", where=name) from error
    return fd


@compiled
def wrap(data: Bytes, at: int, header_length: int) -> int:
    """Put the shim before the VM's frame at data[at:]; returns the start of the outer frame.

    `header_length` (at most 255, and at most the frame) becomes hdr_len of the outer virtio-net header: the number of
    bytes that the kernel keeps linear.
    """
    for i in range(VNET):
        data[at - SHIM - VNET + i] = 0
    data[at - SHIM - VNET + 2] = header_length
    for i in range(12):
        data[at - SHIM + i] = data[at + i]
    data[at - SHIM + 12] = 0x88  # local experimental EtherType
    data[at - SHIM + 13] = 0xB5
    return at - SHIM


@compiled_loop
def forward(
    pollfds: Words, peers: Words, uplinks: Words, epoll: int, buf: Bytes, batch: int, batch_bytes: int, spin_ns: int,
    header_length: int, stop: Words, stats: Words,
) -> None:  # fmt: skip
    """Move frames from port i to port peers[i] until stop[0].

    Args:
        pollfds: (n,) struct pollfd packed into a word.
        peers: (n,) index of the peer of each port.
        uplinks: (n,) 1 for ports whose frames have the shim.
        epoll: an epoll descriptor with all ports, or -1: poll() all of them each time.
        buf: (batch * SLOT,) memory for one batch.
        batch: most frames in a batch of one port.
        batch_bytes: a batch ends when it has so many bytes.
        spin_ns: how long to spin before sleeping in poll(). Negative: spin so long, but only while it pays. On a core
            that the VM needs itself, spinning delays the VM's next packet.
        header_length: hdr_len of the outer virtio-net header, as in `wrap`; at most the length of the frame.
        stop: (1,) 1 ends the loop.
        stats: (4,) counters, written: FRAMES, PASSES, POLLS, LOST.
    """
    spec = np.zeros(2, np.int64)
    base = np.uintp(buf.ctypes.data)
    lengths = np.zeros(batch, np.int64)
    address = np.uintp(pollfds.ctypes.data)
    ports = len(pollfds)
    port_of = np.zeros(MOST_FDS, np.int64)
    for port in range(ports):
        port_of[pollfds[port] & 0xFFFFFFFF] = port
    events = np.zeros(3 * EVENTS, np.int32)  # struct epoll_event is packed: events, then 64 bits of data
    active = np.zeros(max(ports, EVENTS), np.int64)
    last = nanoseconds(spec)
    spinning = False
    limit = abs(spin_ns)
    score = 0
    while stop[0] == 0:
        timeout = np.int32(0 if spinning else 100)
        ready = 0
        if epoll >= 0:
            found = libc.epoll_wait(np.int32(epoll), np.uintp(events.ctypes.data), np.int32(EVENTS), timeout)
            for i in range(found):
                active[ready] = port_of[events[3 * i + 1]]
                ready += 1
        elif libc.poll(address, np.uintp(ports), timeout) > 0:
            for port in range(ports):
                if pollfds[port] >> 48 & libc.POLLIN:
                    active[ready] = port
                    ready += 1
        stats[POLLS] += 1
        if ready == 0:
            if spinning and nanoseconds(spec) - last >= limit:
                spinning = False
                score = max(score - MISS, 0)
            continue
        if spinning:
            score = min(score + 1, SCORE_MOST)
        stats[PASSES] += 1
        for i in range(ready):
            port = active[i]
            fd = np.int32(pollfds[port] & 0xFFFFFFFF)
            count = 0
            total = 0
            while count < batch and total < batch_bytes:
                n = libc.read(fd, base + np.uintp(count * SLOT + HEADROOM - VNET), np.uintp(SLOT - HEADROOM))
                if n <= VNET:
                    break
                lengths[count] = n - VNET
                total += n
                count += 1
            out = np.int32(pollfds[peers[port]] & 0xFFFFFFFF)
            for row in range(count):
                at = row * SLOT + HEADROOM
                length = lengths[row]
                if uplinks[port]:
                    at += SHIM
                    length -= SHIM
                elif uplinks[peers[port]]:
                    outer = wrap(buf, at, min(header_length, length + SHIM))
                    length += at - outer
                    at = outer
                if libc.write(out, base + np.uintp(at - VNET), np.uintp(length + VNET)) < 0:
                    stats[LOST] += 1
            stats[FRAMES] += count
        if spin_ns < 0 and stats[PASSES] % PROBE == 0:
            score = max(score, TRIES * MISS)
        if spin_ns > 0 or (spin_ns < 0 and score > 0):
            spinning = True
            last = nanoseconds(spec)


def pollfd(fd: int) -> int:
    """struct pollfd {int fd; short events = POLLIN; short revents} in one word."""
    return fd & 0xFFFFFFFF | libc.POLLIN << 32


def buffers() -> Bytes:
    """Memory for one batch."""
    return np.zeros(BATCH * SLOT, np.uint8)
