"""io_uring on two taps: multishot reads into provided buffers, writes submitted a batch at a time.

One io_uring_enter() submits all writes of a pass and waits for the next frames. The ring belongs to the thread that
made it (SINGLE_ISSUER, DEFER_TASKRUN), so set-up and forwarding are in one thread.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.ports import libc
from benchmarks.ports.libc import Bytes, Words
from benchmarks.ports.tap import FRAMES, LOST, PASSES, POLLS, SLOT
from hoverboard.fastpath.compiled.compiler import compiled

_SETUP, _ENTER, _REGISTER = 425, 426, 427
_FLAGS = 1 << 12 | 1 << 13 | 1 << 3  # SINGLE_ISSUER, DEFER_TASKRUN, CQSIZE
_OP_WRITE, _OP_READ_MULTISHOT = 23, 49
_BUFFER_SELECT = 1 << 5
_GET_EVENTS, _EXT_ARG = 1, 8
_REGISTER_PBUF_RING = 22
_MORE = 2  # CQE: the multishot request continues
SQ, CQ = 256, 1024
BUFFERS = 64  # of each port; a power of two

U32 = NDArray[np.uint32]


class Queue(NamedTuple):
    """The mapped rings and the memory of both ports' frames."""

    sq_tail: U32
    cq_head: U32
    cq_tail: U32
    cqes: Words  # (CQ * 2,) user data; result and flags
    sqes: Words  # (SQ * 8,)
    rings: Bytes  # a page each: struct io_uring_buf_ring of port 0, of port 1
    frames: Bytes  # 2 * BUFFERS * SLOT


def open_queue() -> tuple[int, Queue]:
    """A ring of the calling thread, with the buffers of both ports registered as groups 0 and 1."""
    params = ctypes.create_string_buffer(120)
    struct.pack_into("<III", params, 0, SQ, CQ, _FLAGS)
    fd = libc.checked("no io_uring", _SETUP, SQ, ctypes.addressof(params))
    sq = struct.unpack_from("<10I", params, 40)
    cq = struct.unpack_from("<10I", params, 80)
    entries, cq_entries = struct.unpack_from("<II", params, 0)
    raw = libc.mapped(fd, max(sq[6] + entries * 4, cq[5] + cq_entries * 16), 0)
    raw[sq[6] : sq[6] + entries * 4].view(np.uint32)[:] = np.arange(entries)
    frames = np.zeros(2 * BUFFERS * SLOT, np.uint8)
    # A ring must begin on a page; the second port's has a page of its own.
    pages = np.zeros(3 * 4096, np.uint8)
    start = -pages.ctypes.data % 4096
    rings = pages[start : start + 2 * 4096]
    for group in range(2):
        registration = ctypes.create_string_buffer(
            struct.pack("<QIHH", rings.ctypes.data + group * 4096, BUFFERS, group, 0), 40
        )
        libc.checked("no provided buffers", _REGISTER, fd, _REGISTER_PBUF_RING, ctypes.addressof(registration), 1)
    return fd, Queue(
        raw[sq[1] : sq[1] + 4].view(np.uint32), raw[cq[0] : cq[0] + 4].view(np.uint32),
        raw[cq[1] : cq[1] + 4].view(np.uint32), raw[cq[5] : cq[5] + cq_entries * 16].view(np.int64),
        libc.mapped(fd, entries * 64, 0x10000000).view(np.int64), rings, frames,
    )  # fmt: skip


@compiled
def give(queue: Queue, port: int, number: int) -> None:
    """Put buffer `number` of `port` back on its ring."""
    words = queue.rings.view(np.int64)
    shorts = queue.rings.view(np.uint16)
    tail = np.int64(shorts[port * 2048 + 7])  # `tail` lies over the reserved field of entry 0
    at = port * 512 + (tail & (BUFFERS - 1)) * 2
    words[at] = np.int64(queue.frames.ctypes.data) + (port * BUFFERS + number) * SLOT
    entry = at * 4 + 4
    shorts[entry] = np.uint16(SLOT & 0xFFFF)
    shorts[entry + 1] = np.uint16(SLOT >> 16)
    shorts[entry + 2] = np.uint16(number)
    shorts[port * 2048 + 7] = np.uint16((tail + 1) & 0xFFFF)


@compiled
def ask(queue: Queue, opcode: int, flags: int, group: int, fd: int, address: int, length: int, tag: int) -> None:
    """Write one submission."""
    at = (np.int64(queue.sq_tail[0]) & (SQ - 1)) * 8
    queue.sqes[at] = opcode | flags << 8 | fd << 32
    queue.sqes[at + 1] = 0
    queue.sqes[at + 2] = address
    queue.sqes[at + 3] = length
    queue.sqes[at + 4] = tag
    queue.sqes[at + 5] = group
    queue.sqes[at + 6] = 0
    queue.sqes[at + 7] = 0
    queue.sq_tail[0] += np.uint32(1)


@compiled
def forward(ring_fd: int, queue: Queue, taps: Words, argument: Words, stop: Words, stats: Words) -> None:
    """Move frames between two taps until stop[0]; `argument` is a struct io_uring_getevents_arg with a timeout."""
    for port in range(2):
        for number in range(BUFFERS):
            give(queue, port, number)
        ask(queue, _OP_READ_MULTISHOT, _BUFFER_SELECT, port, taps[port], 0, 0, port)
    todo = 2
    while stop[0] == 0:
        libc.syscall(_ENTER, ring_fd, todo, 1, _GET_EVENTS | _EXT_ARG, np.int64(argument.ctypes.data), 24)
        stats[POLLS] += 1
        todo = 0
        head = np.int64(queue.cq_head[0])
        while np.uint32(head) != queue.cq_tail[0] and todo < SQ - 2:
            at = (head & (CQ - 1)) * 2
            tag = queue.cqes[at]
            result = queue.cqes[at + 1] << 32 >> 32
            flags = queue.cqes[at + 1] >> 32
            head += 1
            if tag >= 2:  # a write has ended: its buffer is free
                if result < 0:
                    stats[LOST] += 1
                give(queue, tag >> 1 & 1, tag >> 2 & (BUFFERS - 1))
                continue
            if result > 0:
                number = flags >> 16
                address = np.int64(queue.frames.ctypes.data) + (tag * BUFFERS + number) * SLOT
                # bit 20 marks a write; bit 1 is the port; the bits from 2 on are the buffer
                ask(queue, _OP_WRITE, 0, 0, taps[1 - tag], address, result, number << 2 | tag << 1 | 1 << 20)
                todo += 1
                stats[FRAMES] += 1
            if not flags & _MORE:
                ask(queue, _OP_READ_MULTISHOT, _BUFFER_SELECT, tag, taps[tag], 0, 0, tag)
                todo += 1
        queue.cq_head[0] = np.uint32(head)
        if todo:
            stats[PASSES] += 1


def timeout_argument(milliseconds: int) -> tuple[Words, Words]:
    """The struct io_uring_getevents_arg, and the struct timespec that it points to."""
    spec = np.array([0, milliseconds * 1_000_000], np.int64)
    return np.array([0, 0, spec.ctypes.data], np.int64), spec


def close(ring_fd: int) -> None:
    """Close the ring; its pending requests are cancelled."""
    os.close(ring_fd)
