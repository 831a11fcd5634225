"""AF_XDP on two veth devices: rings instead of system calls for each frame, one UMEM for both sockets.

There is no loader: the program has five instructions (redirect to the socket of the receive queue, else pass). Frames
carry no virtio-net header, so a VM cuts its segments and computes its checksums itself.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.ports import libc
from benchmarks.ports.libc import Bytes, Words, nanoseconds
from benchmarks.ports.tap import FRAMES, PASSES, POLLS
from hoverboard.contract.errors import MachineError
from hoverboard.fastpath.compiled.compiler import compiled, compiled_loop

_BPF, _SOCKET, _BIND, _SETSOCKOPT, _GETSOCKOPT = 321, 41, 49, 54, 55  # x86-64
_AF_XDP, _SOL_XDP = 44, 283
_MMAP_OFFSETS, _RX_RING, _TX_RING, _UMEM_REG, _FILL_RING, _COMPLETION_RING = 1, 2, 3, 4, 5, 6
_PAGE_OFFSETS = (0, 0x80000000, 0x100000000, 0x180000000)  # rx, tx, fill, completion
_SHARED_UMEM, _COPY = 1, 2
_DRIVER_MODE = 4
FRAME = 4096
RING = 2048
KICK = 32  # a sendto() moves at most this many frames

U32 = NDArray[np.uint32]


class Ring(NamedTuple):
    """One ring: `made` and `taken` are the producer's and the consumer's index, `slots` its entries."""

    made: U32
    taken: U32
    slots: NDArray[np.uint64]


class Side(NamedTuple):
    """The four rings of one socket; rx and tx have two words a slot: address, length."""

    rx: Ring
    tx: Ring
    fill: Ring
    completion: Ring


@dataclass(slots=True)
class Attached:
    """A socket on a device with its program; closing `fds` detaches both."""

    side: Side
    socket: int
    fds: list[int]


def _bpf(what: str, command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 144)
    return libc.checked(what, _BPF, command, ctypes.addressof(buffer), len(buffer))


def program(map_fd: int) -> bytes:
    """The BPF program: return bpf_redirect_map(map, context->rx_queue_index, XDP_PASS)."""
    lines = (
        (0x61, 0x12, 16, 0),  # r2 = *(u32 *)(r1 + 16)
        (0x18, 0x11, 0, map_fd),  # r1 = map (two slots)
        (0x00, 0x00, 0, 0),
        (0xB7, 0x03, 0, 2),  # r3 = XDP_PASS
        (0x85, 0x00, 0, 51),  # call bpf_redirect_map
        (0x95, 0x00, 0, 0),  # exit
    )
    return b"".join(struct.pack("<BBhi", *line) for line in lines)


def _set(xsk: int, option: int, value: bytes) -> None:
    buffer = ctypes.create_string_buffer(value, len(value))
    libc.checked("AF_XDP option rejected", _SETSOCKOPT, xsk, _SOL_XDP, option, ctypes.addressof(buffer), len(value))


def _attach(ifindex: int, xsk: int) -> list[int]:
    map_fd = _bpf("no XSKMAP", 0, struct.pack("<IIII", 17, 4, 4, 1))
    code, licence = ctypes.create_string_buffer(program(map_fd)), ctypes.create_string_buffer(b"GPL")
    load = struct.pack("<IIQQ", 6, (len(code) - 1) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    load += struct.pack("<IIQI", 0, 0, 0, 0) + struct.pack("<I", 0) + bytes(16) + struct.pack("<II", 0, 37)
    program_fd = _bpf("the XDP program was rejected", 5, load)
    key, value = ctypes.c_uint32(0), ctypes.c_uint32(xsk)
    update = struct.pack("<IIQQQ", map_fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
    _bpf("no entry in the XSKMAP", 2, update)
    link = _bpf("no XDP on this device", 28, struct.pack("<IIII", program_fd, ifindex, 37, _DRIVER_MODE))
    return [link, program_fd, map_fd]


def _ring(fd: int, offsets: tuple[int, int, int, int], page: int, words: int) -> Ring:
    made, taken, slots, _ = offsets
    raw = libc.mapped(fd, slots + RING * words * 8, page)
    return Ring(
        raw[made : made + 4].view(np.uint32),
        raw[taken : taken + 4].view(np.uint32),
        raw[slots : slots + RING * words * 8].view(np.uint64),
    )


def open_socket(device: str, umem: Bytes, owner: int | None) -> Attached:
    """A socket on queue 0 of `device`, in the calling thread's namespace.

    Args:
        device: name of the device.
        umem: page-aligned memory, FRAME bytes a frame.
        owner: the socket that registered `umem` before, or None.
    """
    xsk = libc.checked("no AF_XDP", _SOCKET, _AF_XDP, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        if owner is None:
            _set(xsk, _UMEM_REG, struct.pack("<QQIIII", umem.ctypes.data, umem.nbytes, FRAME, 0, 0, 0))
        for option in (_FILL_RING, _COMPLETION_RING, _RX_RING, _TX_RING):
            _set(xsk, option, struct.pack("<I", RING))
        answer, length = ctypes.create_string_buffer(128), ctypes.c_uint32(128)
        arguments = (xsk, _SOL_XDP, _MMAP_OFFSETS, ctypes.addressof(answer), ctypes.addressof(length))
        libc.checked("no ring offsets", _GETSOCKOPT, *arguments)
        offsets = struct.unpack("<16Q", answer.raw)
        groups = [offsets[start : start + 4] for start in range(0, 16, 4)]
        rings = [
            _ring(xsk, group, page, words)
            for group, page, words in zip(groups, _PAGE_OFFSETS, (2, 2, 1, 1), strict=True)
        ]
        ifindex = socket.if_nametoindex(device)
        flags = _COPY if owner is None else _SHARED_UMEM
        address = ctypes.create_string_buffer(struct.pack("<HHIII", _AF_XDP, flags, ifindex, 0, owner or 0), 16)
        libc.checked("no AF_XDP socket on this device", _BIND, xsk, ctypes.addressof(address), 16)
        return Attached(Side(*rings), xsk, [*_attach(ifindex, xsk), xsk])
    except MachineError:
        os.close(xsk)
        raise


def stock(side: Side, first: int) -> None:
    """Give the kernel RING - 1 empty frames, from frame `first` on."""
    side.fill.slots[: RING - 1] = (np.arange(RING - 1, dtype=np.uint64) + np.uint64(first)) * np.uint64(FRAME)
    side.fill.made[0] = RING - 1


@compiled
def move(source: Side, target: Side, target_fd: int, batch: int) -> int:
    """Move one batch from rx to tx, by frame addresses only, and notify the kernel; returns the number of frames.

    Plain loads and stores suffice: the system calls between them keep the compiler from reordering, and x86 does not
    reorder stores. An engine would use acquire and release.
    """
    mask = np.int64(RING - 1)
    # Return sent frames to the device that received them.
    while target.completion.taken[0] != target.completion.made[0]:
        at = np.int64(target.completion.taken[0]) & mask
        source.fill.slots[np.int64(source.fill.made[0]) & mask] = (
            target.completion.slots[at] // np.uint64(FRAME) * np.uint64(FRAME)
        )
        source.fill.made[0] += np.uint32(1)
        target.completion.taken[0] += np.uint32(1)
    count = 0
    while count < batch and source.rx.taken[0] != source.rx.made[0]:
        if np.int64(np.uint32(target.tx.made[0] - target.tx.taken[0])) >= RING:
            break
        at = np.int64(source.rx.taken[0]) & mask
        to = np.int64(target.tx.made[0]) & mask
        target.tx.slots[2 * to] = source.rx.slots[2 * at]
        target.tx.slots[2 * to + 1] = source.rx.slots[2 * at + 1] & np.uint64(0xFFFFFFFF)
        target.tx.made[0] += np.uint32(1)
        source.rx.taken[0] += np.uint32(1)
        count += 1
    tries = 0
    while target.tx.taken[0] != target.tx.made[0] and tries < 2 + batch // KICK:
        libc.sendto(
            np.int32(target_fd), np.uintp(0), np.uintp(0), np.int32(libc.MSG_DONTWAIT), np.uintp(0), np.uint32(0)
        )
        tries += 1
    return count


@compiled_loop
def forward(pollfds: Words, one: Side, other: Side, batch: int, spin_ns: int, stop: Words, stats: Words) -> None:
    """Move frames between two sockets until stop[0]; pollfds (2,) as in tap.forward."""
    spec = np.zeros(2, np.int64)
    first, second = pollfds[0] & 0xFFFFFFFF, pollfds[1] & 0xFFFFFFFF
    last = nanoseconds(spec)
    spinning = False
    while stop[0] == 0:
        stats[POLLS] += 1
        libc.poll(np.uintp(pollfds.ctypes.data), np.uintp(2), np.int32(0 if spinning else 100))
        moved = move(one, other, second, batch) + move(other, one, first, batch)
        if moved:
            stats[FRAMES] += moved
            stats[PASSES] += 1
            spinning = spin_ns > 0
            if spinning:
                last = nanoseconds(spec)
        elif spinning:
            spinning = nanoseconds(spec) - last < spin_ns
