"""Receive: frames of a virtual NIC or of the fabric into the pool (figures 6, 7: VM Tx queues, NIC Rx queues).

The scheduler does the round robin over VMs and queues: each port with packets has one batch a turn.
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.ratelimit import allowed, charge
from hoverboard.fastpath.memory import control, packets, ports, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.parse import copy


@compiled
def describe(m: Memory, slot: int, port: int, length: int, tunnel: int, staged: int) -> None:
    """Fill the row of a packet whose frame of `length` bytes is in its pool slot."""
    packet = m.packets[slot]
    start = slot * packets.SLOT_BYTES + packets.HEADROOM
    packet[packets.START] = start
    packet[packets.TOTAL] = length
    packet[packets.FRAME] = start
    packet[packets.LENGTH] = length
    packet[packets.VNET] = 1
    packet[packets.PORT] = port
    packet[packets.TUNNEL] = tunnel
    packet[packets.STAGED] = staged


@compiled
def receive_tap(m: Memory, port: int, limit: int) -> int:
    """Receive from a tap with virtio-net headers, until it is empty or the batch is full."""
    fd = np.int32(m.ports[port, ports.FD])
    base = np.uintp(m.pool.ctypes.data) + np.uintp(packets.HEADROOM - packets.VNET_BYTES)
    count = 0
    total = 0
    free = m.ctl[control.FREE]
    m.ctl[control.MORE] = 1
    while count < limit and total < control.BATCH_BYTES and free > 0:
        slot = m.free[free - 1]
        n = syscalls.read(
            fd, base + np.uintp(slot * packets.SLOT_BYTES), np.uintp(packets.FRAME_MAX + packets.VNET_BYTES)
        )
        if n <= packets.VNET_BYTES:
            m.ctl[control.MORE] = 0
            break
        free -= 1
        m.batch[count] = slot
        describe(m, slot, port, n - packets.VNET_BYTES, 0, 0)  # tour: miss 1
        total += n
        count += 1
    m.ctl[control.FREE] = free
    m.port_stats[port, 0] += count
    m.port_stats[port, 1] += total - count * packets.VNET_BYTES
    return count


@compiled
def receive_ring(m: Memory, port: int, limit: int) -> int:
    """Receive from a ring in memory: a VMM's, or a test's."""
    index = m.side_index[port, rings.FROM_VMM]
    meta = m.side_meta[port, rings.FROM_VMM]
    data = m.side_data[port, rings.FROM_VMM]
    count = 0
    total = 0
    free = m.ctl[control.FREE]
    there = min(ring.waiting(index), limit)
    while count < there and total < control.BATCH_BYTES and free > 0:
        at = ring.slot_at(index, meta)
        n = meta[at, rings.LENGTH]
        free -= 1
        slot = m.free[free]
        copy(
            m.pool,
            slot * packets.SLOT_BYTES + packets.HEADROOM - packets.VNET_BYTES,
            data,
            at * packets.SLOT_BYTES + meta[at, rings.OFFSET],
            n,
        )
        ring.release(index)
        m.batch[count] = slot
        describe(m, slot, port, n - packets.VNET_BYTES, 0, 0)
        total += n
        count += 1
    m.ctl[control.FREE] = free
    m.ctl[control.MORE] = ring.waiting(index)
    m.port_stats[port, 0] += count
    m.port_stats[port, 1] += total - count * packets.VNET_BYTES
    return count


@compiled
def receive(m: Memory, port: int) -> int:
    """Receive up to a batch from `port`; ctl[control.MORE] is set if it may have more."""
    limit = m.ctl[control.BATCH]
    if m.ports[port, ports.KIND] == ports.KIND_RING:
        return receive_ring(m, port, limit)
    return receive_tap(m, port, limit)


@compiled
def vnic_receive(m: Memory, port: int) -> int:
    """Egress: receive from a VM, unless its rate limit holds it back."""
    if not allowed(m, port):
        m.ctl[control.MORE] = 1
        return 0
    n = receive(m, port)
    charge(m, port, n)
    return n
