"""Decides what happens to a packet that arrives at a link: lost, doubled, sent at once, or due at some time.

The order of decisions is netem's (net/sched/sch_netem.c): duplicate, loss, reorder, delay, rate. Unlike netem, jitter
never reorders: a packet is due at the earliest with the packet before it. All goes by the packet's number.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.link.dice import OF_COPY_JITTER, OF_DUPLICATE, OF_JITTER, OF_LOSS, OF_REORDER, roll
from hoverboard.fastpath.link.due_queue import put
from hoverboard.fastpath.link.link_memory import (
    BYTES,
    CHANCE_BITS,
    DELAY,
    DUE,
    DUPLICATE,
    DUPLICATED,
    JITTER,
    LOSS,
    LOST,
    NUMBER,
    PACKETS,
    QUEUE,
    QUEUE_DROPS,
    RATE,
    REORDER,
    REORDERED,
    SEED,
    TAKEN,
    VERSION,
    VNET_BYTES,
    Direction,
)

_SECOND_BITS = 8 * 1_000_000_000


@compiled
def follow(d: Direction) -> None:
    """Take new properties, if there are some; the numbers of packets then begin again."""
    if d.wanted[VERSION] != d.state[TAKEN]:
        d.state[TAKEN] = d.wanted[VERSION]
        for word in range(VERSION):
            d.now[word] = d.wanted[word]
        d.state[NUMBER] = 0


@compiled
def copies(d: Direction, number: int) -> int:
    """How often packet `number` leaves: 0 (lost), 1 or 2."""
    count = 1
    if roll(d.now[SEED], number, OF_DUPLICATE) < d.now[DUPLICATE]:
        d.counts[DUPLICATED] += 1
        count += 1
    if roll(d.now[SEED], number, OF_LOSS) < d.now[LOSS]:
        d.counts[LOST] += 1
        count -= 1
    return count


@compiled
def overtakes(d: Direction, number: int) -> bool:
    """Whether packet `number` takes no delay."""
    return roll(d.now[SEED], number, OF_REORDER) < d.now[REORDER]


@compiled
def due(d: Direction, number: int, stream: int, length: int, now: int) -> int:
    """The time (ns) at which a packet leaves; -1 if it would wait too long for the rate.

    Args:
        d: the direction.
        number: of the packet.
        stream: of its random numbers for jitter.
        length: bytes of its frame.
        now: time of its arrival.
    """
    when = now + d.now[DELAY]
    if d.now[JITTER]:
        share = roll(d.now[SEED], number, stream) / (1 << CHANCE_BITS)  # 0 to 1
        when = max(now, when + int((2 * share - 1) * d.now[JITTER]))
    start = max(when, d.state[DUE])
    if d.now[RATE]:
        if start - when > d.now[QUEUE]:
            return -1
        return start + length * _SECOND_BITS // d.now[RATE]
    return start


@compiled
def arrive(d: Direction, offset: int, size: int, now: int) -> int:
    """Decide about a packet that has arrived, and put it into the queue unless it is lost or overtakes others.

    Args:
        d: the direction; `follow` was called.
        offset: of the packet in the arena, from `due_queue.room`.
        size: its bytes, with the virtio-net header.
        now: time in ns.

    Returns:
        How often the caller has to send it at once: 0, or the number of copies of a packet that overtakes others.
    """
    number = d.state[NUMBER]
    d.state[NUMBER] += 1
    length = size - VNET_BYTES
    d.counts[PACKETS] += 1
    d.counts[BYTES] += length
    count = copies(d, number)
    if count == 0:
        return 0
    if overtakes(d, number):
        d.counts[REORDERED] += 1
        return count
    first = due(d, number, OF_JITTER, length, now)
    if first < 0:
        d.counts[QUEUE_DROPS] += count
        return 0
    d.state[DUE] = first
    second = -1
    if count == 2:
        second = due(d, number, OF_COPY_JITTER, length, now)
        if second < 0:
            d.counts[QUEUE_DROPS] += 1
    put(d, offset, size, first)
    if second >= 0:
        d.state[DUE] = second
        put(d, offset, size, second)
    return 0
