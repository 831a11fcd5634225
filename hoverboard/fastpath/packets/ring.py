"""Lock-free single-producer single-consumer rings, of packets and of commands (paper section 4.1).

index[0] is the consumer's count, index[8] the producer's, a cache line apart. Each side writes only its own count, with
a release store after its work on the slot. It reads the other count with an acquire load. Slots of a packet ring
contain a whole frame, so a packet in a ring shares no memory.
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled.atomics import load_acquire, store_release
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import control, packets
from hoverboard.fastpath.packets.parse import Bytes, Words, copy

CONSUMED, PRODUCED = 0, 8


@compiled
def push(
    index: Words, meta: Words, store: Bytes, port: int, offset: int, kind: int, tunnel: int, data: Bytes, at: int,
    n: int,
) -> bool:  # fmt: skip
    """Copy data[at:at+n] to byte `offset` of the next slot; False, without a copy, when the ring is full.

    Args:
        index: the counts of consumer and producer.
        meta: (slots, rings.WORDS); its length, a power of two, is the length of the ring.
        store: (slots * SLOT_BYTES,) the slots.
        port: stored with the packet (rings.PORT).
        offset: offset of the packet in its slot.
        kind: stored with the packet (rings.KIND).
        tunnel: stored with the packet (rings.TUNNEL).
        data: bytes that contain the packet.
        at: offset of the packet in `data`.
        n: bytes of the packet.
    """
    made = index[PRODUCED]
    if made - load_acquire(index, CONSUMED) >= meta.shape[0]:
        return False
    slot = made & (meta.shape[0] - 1)
    base = slot * packets.SLOT_BYTES + offset
    copy(store, base, data, at, n)
    meta[slot, 0] = port
    meta[slot, 1] = offset
    meta[slot, 2] = n
    meta[slot, 3] = kind
    meta[slot, 4] = tunnel
    store_release(index, PRODUCED, made + 1)
    return True


@compiled
def waiting(index: Words) -> int:
    """The number of slots that the consumer may read now."""
    return load_acquire(index, PRODUCED) - index[CONSUMED]


@compiled
def unread(index: Words) -> int:
    """For the producer: the number of slots that the consumer has not released yet."""
    return index[PRODUCED] - load_acquire(index, CONSUMED)


@compiled
def slot_at(index: Words, meta: Words) -> int:
    """The next slot to read, if waiting() is not 0."""
    return index[CONSUMED] & (meta.shape[0] - 1)


@compiled
def release(index: Words) -> None:
    """Return the slot just read to the producer."""
    store_release(index, CONSUMED, index[CONSUMED] + np.int64(1))


@compiled
def command(index: Words, commands: Words, operation: int, first: int, second: int) -> bool:
    """Send a command to an engine; False when its channel is full. It is complete when waiting() is 0 again."""
    made = index[PRODUCED]
    if made - load_acquire(index, CONSUMED) >= control.COMMAND_SLOTS:
        return False
    slot = made & (control.COMMAND_SLOTS - 1)
    commands[slot, 0] = operation
    commands[slot, 1] = first
    commands[slot, 2] = second
    store_release(index, PRODUCED, made + 1)
    return True
