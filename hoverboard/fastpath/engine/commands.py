"""What an engine does for its control threads between batches: commands, injected packets (paper 4.1, 4.2)."""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.divert import write_eventfd
from hoverboard.fastpath.elements.receive import describe
from hoverboard.fastpath.elements.transmit import send
from hoverboard.fastpath.memory import control, host, packets, ports, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.parse import Bytes, Words, copy


@compiled
def run_commands(m: Memory) -> None:
    """Carry out all commands that wait; the sender knows that they are done when its channel is empty."""
    index = m.command_index
    if not ring.waiting(index):
        return
    while ring.waiting(index):
        at = index[ring.CONSUMED] & (control.COMMAND_SLOTS - 1)
        operation = m.commands[at, 0]
        if operation == control.CMD_TABLE:
            m.ctl[control.TABLE] = m.commands[at, 1]
            m.ctl[control.FIVE_TUPLES] = m.commands[at, 2]
        elif operation == control.CMD_BATCH:
            m.ctl[control.BATCH] = m.commands[at, 1]
        # CMD_PORT asks for nothing but the answer: past it, the engine uses no descriptor of before.
        ring.release(index)
    write_eventfd(m, m.host[host.CONTROL_EVENTFD])


@compiled
def notify(m: Memory) -> None:
    """Wake the control thread if packets have been put in the miss ring since it last was."""
    made = m.miss_index[ring.PRODUCED]
    if made != m.ctl[control.MISSES_NOTIFIED]:
        m.ctl[control.MISSES_NOTIFIED] = made
        write_eventfd(m, m.host[host.CONTROL_EVENTFD])


@compiled
def take_ring(m: Memory, index: Words, meta: Words, data: Bytes, n: int, staged: bool) -> int:
    """Copy packets from a ring into the pool, behind the n of the batch; returns the batch's new length."""
    while n < m.ctl[control.BATCH] and m.ctl[control.FREE] > 0 and ring.waiting(index):
        at = ring.slot_at(index, meta)
        begin = at * packets.SLOT_BYTES + meta[at, rings.OFFSET]
        length = meta[at, rings.LENGTH]
        kind = meta[at, rings.KIND]
        if not staged and kind == rings.INJECT_RAW:
            send(m, meta[at, rings.PORT], data, begin + packets.VNET_BYTES, length - packets.VNET_BYTES)
        else:
            m.ctl[control.FREE] -= 1
            slot = m.free[m.ctl[control.FREE]]
            copy(m.pool, slot * packets.SLOT_BYTES + packets.HEADROOM - packets.VNET_BYTES, data, begin, length)
            done = kind if staged else max(kind - rings.INJECT_STAGED + packets.FIRST_DONE, 0)
            describe(m, slot, meta[at, rings.PORT], length - packets.VNET_BYTES, meta[at, rings.TUNNEL], done)
            m.batch[n] = slot
            n += 1
        ring.release(index)
    return n


@compiled
def take_injected(m: Memory) -> int:
    """A batch of what the control thread and the coprocessors put back in front of the engine."""
    n = take_ring(m, m.inject_index, m.inject_meta, m.inject_data, 0, False)
    if m.host[host.SIDES]:
        for port in range(ports.FIRST_TAP, m.host[host.PORTS]):
            side = rings.FROM_COPROCESSOR
            n = take_ring(m, m.side_index[port, side], m.side_meta[port, side], m.side_data[port, side], n, True)
    return n
