"""What an engine does for its control threads between batches: commands, injected packets (paper 4.1, 4.2)."""

from __future__ import annotations

from hoverboard.fastpath import ring
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.divert import ring_bell
from hoverboard.fastpath.elements.receive import describe
from hoverboard.fastpath.elements.transmit import send
from hoverboard.fastpath.layout import (
    CMD_BATCH,
    CMD_TABLE,
    COMMAND_SLOTS,
    CTL_BATCH,
    CTL_FIVE,
    CTL_FREE,
    CTL_TABLE,
    CTL_TOLD,
    FIRST_DONE,
    FIRST_TAP,
    FROM_COPROCESSOR,
    HEADROOM,
    HOST_NEWS_FD,
    HOST_PORTS,
    HOST_SIDES,
    INJECT_RAW,
    INJECT_STAGED,
    META_KIND,
    META_LENGTH,
    META_OFFSET,
    META_PORT,
    META_TUNNEL,
    SLOT_BYTES,
    VNET_BYTES,
    Memory,
)
from hoverboard.fastpath.packet import Bytes, Words, copy


@compiled
def obey(m: Memory) -> None:
    """Carry out all commands that wait; the sender knows that they are done when its channel is empty."""
    index = m.command_index
    if not ring.waiting(index):
        return
    while ring.waiting(index):
        at = index[ring.TAKEN] & (COMMAND_SLOTS - 1)
        operation = m.commands[at, 0]
        if operation == CMD_TABLE:
            m.ctl[CTL_TABLE] = m.commands[at, 1]
            m.ctl[CTL_FIVE] = m.commands[at, 2]
        elif operation == CMD_BATCH:
            m.ctl[CTL_BATCH] = m.commands[at, 1]
        # CMD_PORT asks for nothing but the answer: past it, the engine uses no descriptor of before.
        ring.release(index)
    ring_bell(m, m.host[HOST_NEWS_FD])


@compiled
def tell(m: Memory) -> None:
    """Wake the control thread if packets have been put in the miss ring since it last was."""
    made = m.miss_index[ring.MADE]
    if made != m.ctl[CTL_TOLD]:
        m.ctl[CTL_TOLD] = made
        ring_bell(m, m.host[HOST_NEWS_FD])


@compiled
def take_ring(m: Memory, index: Words, meta: Words, data: Bytes, n: int, staged: bool) -> int:
    """Copy packets from a ring into the pool, behind the n of the batch; returns the batch's new length."""
    while n < m.ctl[CTL_BATCH] and m.ctl[CTL_FREE] > 0 and ring.waiting(index):
        at = ring.slot_at(index, meta)
        begin = at * SLOT_BYTES + meta[at, META_OFFSET]
        length = meta[at, META_LENGTH]
        kind = meta[at, META_KIND]
        if not staged and kind == INJECT_RAW:
            send(m, meta[at, META_PORT], data, begin + VNET_BYTES, length - VNET_BYTES)
        else:
            m.ctl[CTL_FREE] -= 1
            slot = m.free[m.ctl[CTL_FREE]]
            copy(m.pool, slot * SLOT_BYTES + HEADROOM - VNET_BYTES, data, begin, length)
            done = kind if staged else max(kind - INJECT_STAGED + FIRST_DONE, 0)
            describe(m, slot, meta[at, META_PORT], length - VNET_BYTES, meta[at, META_TUNNEL], done)
            m.batch[n] = slot
            n += 1
        ring.release(index)
    return n


@compiled
def injected(m: Memory) -> int:
    """A batch of what the control thread and the coprocessors put back in front of the engine."""
    n = take_ring(m, m.inject_index, m.inject_meta, m.inject_data, 0, False)
    if m.host[HOST_SIDES]:
        for port in range(FIRST_TAP, m.host[HOST_PORTS]):
            side = FROM_COPROCESSOR
            n = take_ring(m, m.side_index[port, side], m.side_meta[port, side], m.side_data[port, side], n, True)
    return n
