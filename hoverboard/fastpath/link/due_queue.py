"""The queue of packets with due times: first in, first out, in a ring of bytes.

A packet is one piece of the arena, so that one system call reads or writes it. The ring begins again at offset 0 as
soon as there is room. It does not wait for the end of the arena, so a link with few packets inside uses few pages.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.link.link_memory import (
    FIRST,
    FRAME_BYTES,
    LENGTH,
    NEXT,
    OFFSET,
    TAIL,
    WHEN,
    Direction,
)

_ALIGN = 64
_EARLY = 4 * FRAME_BYTES  # before this offset the ring does not begin again


@compiled
def is_empty(d: Direction) -> bool:
    """Whether no packet waits."""
    return d.state[FIRST] == d.state[NEXT]


@compiled
def head(d: Direction) -> int:
    """Row of the packet that leaves next, if there is one."""
    return d.state[FIRST] & (d.records.shape[0] - 1)


@compiled
def room(d: Direction) -> int:
    """Offset in the arena for a packet of at most FRAME_BYTES; -1 when there is no room, for it or for two records."""
    if is_empty(d):
        d.state[TAIL] = 0
        return 0
    if d.state[NEXT] - d.state[FIRST] > d.records.shape[0] - 2:
        return -1
    tail = d.state[TAIL]
    begin = d.records[head(d), OFFSET]
    if tail <= begin:  # the ring has begun again: free is what lies between
        return tail if begin - tail > FRAME_BYTES else -1
    used = tail - begin
    if begin > FRAME_BYTES and ((tail > _EARLY and begin > 2 * used) or d.arena.shape[0] - tail < FRAME_BYTES):
        return 0
    return tail if d.arena.shape[0] - tail >= FRAME_BYTES else -1


@compiled
def put(d: Direction, offset: int, length: int, when: int) -> None:
    """Put a packet into the queue, whose bytes are at the offset that `room` gave; twice for a packet with a copy.

    Args:
        d: the direction.
        offset: of its bytes.
        length: of its bytes, above 0.
        when: due time in ns, not before that of the packet before it.
    """
    record = d.records[d.state[NEXT] & (d.records.shape[0] - 1)]
    record[OFFSET] = offset
    record[LENGTH] = length
    record[WHEN] = when
    d.state[TAIL] = offset + (length + _ALIGN - 1) // _ALIGN * _ALIGN
    d.state[NEXT] += 1


@compiled
def take(d: Direction) -> None:
    """Remove the packet at `head` from the queue."""
    d.state[FIRST] += 1
