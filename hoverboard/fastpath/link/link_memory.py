"""The memory of one direction of a link, and of the thread that serves both.

Packets wait in a ring of bytes, one after the other: they leave in the order in which they came, because the due time
never falls. A packet that overtakes others is sent at once and never waits (`hoverboard.fastpath.link.impair`).
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.memory.arrays import I64, U8, Arena

_MAP_NORESERVE = 0x4000  # Linux
VNET_BYTES = 12  # struct virtio_net_hdr_mrg_rxbuf, before each frame of a tap
FRAME_BYTES = (1 << 16) + 64  # most that one read of a tap gives: 65,535 bytes, an Ethernet and a virtio-net header
# Most packets and bytes that wait in one direction. Only pages that were used take memory, and see `due_queue.room`.
RECORDS = 1 << 17
ARENA_BYTES = 1 << 28
EVENTS = 8  # that the thread takes at a time

# wanted[]: the properties, as the control thread writes them; VERSION last, so that a change is taken as a whole.
# Times in ns; LOSS, DUPLICATE and REORDER as thresholds for 53 random bits; RATE in bit/s, 0: no limit; QUEUE: the
# longest wait for the rate, ns. NAP: how long the loop sleeps between two looks while many packets come, ns.
DELAY, JITTER, LOSS, DUPLICATE, REORDER, RATE, QUEUE, SEED, NAP = range(9)
VERSION = 9
CHANCE_BITS = 53
# A nap makes packets late by its own length at most: a tenth of the delay, within these limits (ns). With a Gbit/s of
# small frames, naps of 100 us take 0.25 of a core and naps of 50 us 0.32 (`benchmarks.link_element`).
SHORTEST_NAP, LONGEST_NAP = 20_000, 100_000

# state[]: FIRST, NEXT: counts of records taken out and put in. TAIL: offset in the arena for the next packet. NUMBER:
# of the next packet. DUE: due time of the last packet (ns). TAKEN: the version of wanted[] in use. READABLE: the device
# may have packets.
FIRST, NEXT, TAIL, NUMBER, DUE, TAKEN, READABLE = range(7)

# counts[], in the order of `hoverboard.contract.links.link_documents.LinkCounters`.
PACKETS, BYTES, SENT, LOST, DUPLICATED, REORDERED, QUEUE_DROPS, MEMORY_DROPS, FAILED = range(9)
COUNTERS = (
    "packets", "bytes", "sent", "lost", "duplicated", "reordered", "queue_drops", "memory_drops", "failed",
)  # fmt: skip

# records[]: OFFSET, LENGTH (with the virtio-net header) and WHEN it leaves (ns). Two copies of a packet share bytes.
OFFSET, LENGTH, WHEN = range(3)

# thread[]: STOP: 1 ends the loop. EPOLL, TIMER: descriptors. ARMED: time for which the timer is set, 0: for none.
# WINDOW, HANDLED: start of the present window (ns), and packets in it. BUSY: many packets came in the window before.
STOP, EPOLL, TIMER, ARMED, WINDOW, HANDLED, BUSY, PASSES = range(8)


class Direction(NamedTuple):
    """One direction of a link: it reads packets from one device and writes them to another."""

    wanted: I64  # (16,)
    now: I64  # (16,) the properties in use
    state: I64  # (16,)
    counts: I64  # (16,)
    records: I64  # (RECORDS, 4)
    arena: U8  # (ARENA_BYTES,)
    scratch: U8  # (FRAME_BYTES,) a packet that has no place in the arena


class LinkThreadMemory(NamedTuple):
    """The state of the thread that serves a link."""

    thread: I64  # (16,)
    clock: I64  # (8,) scratch space of system calls
    events: NDArray[np.int32]  # (EVENTS * EVENT_WORDS,)


def new_direction(records: int = RECORDS, arena_bytes: int = ARENA_BYTES) -> Direction:
    """The empty memory of one direction.

    Args:
        records: most packets that wait, a power of two.
        arena_bytes: bytes of waiting packets; more than two of the largest frames.
    """
    sizes = 64 * 128 + records * 4 * 8 + arena_bytes + FRAME_BYTES
    mapping = mmap.mmap(-1, sizes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    take = Arena(mapping).take
    return Direction(
        take(16, np.int64), take(16, np.int64), take(16, np.int64), take(16, np.int64), take((records, 4), np.int64),
        take(arena_bytes, np.uint8), take(FRAME_BYTES, np.uint8),
    )  # fmt: skip


def new_thread_memory(epoll: int, timer: int) -> LinkThreadMemory:
    """The state of a new thread.

    Args:
        epoll: descriptor of an epoll that watches both devices, the timer and the wake-up, edge-triggered.
        timer: descriptor of a timer of CLOCK_MONOTONIC.
    """
    made = LinkThreadMemory(
        np.zeros(16, np.int64), np.zeros(8, np.int64), np.zeros(EVENTS * syscalls.EVENT_WORDS, np.int32)
    )
    made.thread[EPOLL], made.thread[TIMER] = epoll, timer
    return made


def chance(share: float) -> int:
    """The threshold for a share from 0 to 1: that many of the 2**53 random numbers are below it."""
    return round(share * (1 << CHANCE_BITS))


def set_properties(direction: Direction, properties: LinkProperties, seed: int) -> None:
    """Set the properties of a direction while it runs. The numbers of packets begin again at 0.

    Args:
        direction: the direction; packets that wait in it keep their due times.
        properties: the new properties.
        seed: for this direction (`properties.seed` is for both).
    """
    wanted = direction.wanted
    for word, value in (
        (DELAY, round(properties.delay * 1e9)), (JITTER, round(properties.jitter * 1e9)),
        (LOSS, chance(properties.loss)), (DUPLICATE, chance(properties.duplicate)),
        (REORDER, chance(properties.reorder)), (RATE, properties.rate or 0),
        (QUEUE, round(properties.queue_seconds * 1e9)), (SEED, seed),
        (NAP, min(max(round(properties.delay * 1e8), SHORTEST_NAP), LONGEST_NAP)),
    ):  # fmt: skip
        wanted[word] = value
    wanted[VERSION] += 1


def counters(direction: Direction) -> dict[str, int]:
    """The counters of a direction, and `waiting`: packets that are inside."""
    found = {name: int(direction.counts[number]) for number, name in enumerate(COUNTERS)}
    return {**found, "waiting": int(direction.state[NEXT] - direction.state[FIRST])}
