"""An engine's work for its control threads between batches: commands and injected packets (paper 4.1, 4.2)."""

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
    """Carry out all waiting commands. An empty channel confirms to the sender that they are complete."""
    index = m.command_index
    if not ring.waiting(index):
        return
    while ring.waiting(index):
        at = index[ring.CONSUMED] & (control.COMMAND_SLOTS - 1)
        operation = m.commands[at, 0]
        if operation == control.CMD_TABLE:
            m.ctl[control.TABLE] = m.commands[at, 1]  # tour: miss 9
            m.ctl[control.FIVE_TUPLES] = m.commands[at, 2]
        elif operation == control.CMD_BATCH:
            m.ctl[control.BATCH] = m.commands[at, 1]
        # CMD_PORT only needs the confirmation: after it, the engine uses no earlier descriptor.
        ring.release(index)
    write_eventfd(m, m.host[host.CONTROL_EVENTFD])


@compiled
def notify(m: Memory) -> None:
    """Wake the control thread if the miss ring has packets that it was not notified of."""
    made = m.miss_index[ring.PRODUCED]
    if made != m.ctl[control.MISSES_NOTIFIED]:
        m.ctl[control.MISSES_NOTIFIED] = made
        write_eventfd(m, m.host[host.CONTROL_EVENTFD])


@compiled
def take_ring(m: Memory, index: Words, meta: Words, data: Bytes, n: int, staged: bool) -> int:
    """Copy packets from a ring into the pool, after the n packets of the batch; returns the batch's new length."""
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
    """A batch of the packets that the control thread and the coprocessors sent to the engine; returns its length."""
    n = take_ring(m, m.inject_index, m.inject_meta, m.inject_data, 0, False)
    if m.host[host.SIDES]:
        for port in range(ports.FIRST_TAP, m.host[host.PORTS]):
            side = rings.FROM_COPROCESSOR
            n = take_ring(m, m.side_index[port, side], m.side_meta[port, side], m.side_data[port, side], n, True)
    return n
