"""Receive: frames of a virtual NIC or of the fabric into the pool (figures 6, 7: VM Tx queues, NIC Rx queues).

Round robin over VMs and queues is the scheduler's: each port with something to say has one batch a turn.
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath import ring, syscalls
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.ratelimit import allowed, charge
from hoverboard.fastpath.layout import (
    BATCH_BYTES,
    CTL_BATCH,
    CTL_FREE,
    CTL_MORE,
    FRAME_MAX,
    FROM_VMM,
    HEADROOM,
    KIND_RING,
    META_LENGTH,
    META_OFFSET,
    P_FRAME,
    P_LENGTH,
    P_PORT,
    P_STAGED,
    P_START,
    P_TOTAL,
    P_TUNNEL,
    P_VNET,
    PORT_FD,
    PORT_KIND,
    SLOT_BYTES,
    VNET_BYTES,
    Memory,
)
from hoverboard.fastpath.packet import copy


@compiled
def describe(m: Memory, slot: int, port: int, length: int, tunnel: int, staged: int) -> None:
    """Fill the row of a packet whose frame of `length` bytes stands in its pool slot."""
    packet = m.packets[slot]
    start = slot * SLOT_BYTES + HEADROOM
    packet[P_START] = start
    packet[P_TOTAL] = length
    packet[P_FRAME] = start
    packet[P_LENGTH] = length
    packet[P_VNET] = 1
    packet[P_PORT] = port
    packet[P_TUNNEL] = tunnel
    packet[P_STAGED] = staged


@compiled
def receive_tap(m: Memory, port: int, limit: int) -> int:
    """From a tap with virtio-net headers, until it is empty or the batch is full."""
    fd = np.int32(m.ports[port, PORT_FD])
    base = np.uintp(m.pool.ctypes.data) + np.uintp(HEADROOM - VNET_BYTES)
    count = 0
    total = 0
    free = m.ctl[CTL_FREE]
    m.ctl[CTL_MORE] = 1
    while count < limit and total < BATCH_BYTES and free > 0:
        slot = m.free[free - 1]
        n = syscalls.read(fd, base + np.uintp(slot * SLOT_BYTES), np.uintp(FRAME_MAX + VNET_BYTES))
        if n <= VNET_BYTES:
            m.ctl[CTL_MORE] = 0
            break
        free -= 1
        m.batch[count] = slot
        describe(m, slot, port, n - VNET_BYTES, 0, 0)
        total += n
        count += 1
    m.ctl[CTL_FREE] = free
    m.port_stats[port, 0] += count
    m.port_stats[port, 1] += total - count * VNET_BYTES
    return count


@compiled
def receive_ring(m: Memory, port: int, limit: int) -> int:
    """From a ring in memory: a VMM's, or a test's."""
    index = m.side_index[port, FROM_VMM]
    meta = m.side_meta[port, FROM_VMM]
    data = m.side_data[port, FROM_VMM]
    count = 0
    total = 0
    free = m.ctl[CTL_FREE]
    there = min(ring.waiting(index), limit)
    while count < there and total < BATCH_BYTES and free > 0:
        at = ring.slot_at(index, meta)
        n = meta[at, META_LENGTH]
        free -= 1
        slot = m.free[free]
        copy(m.pool, slot * SLOT_BYTES + HEADROOM - VNET_BYTES, data, at * SLOT_BYTES + meta[at, META_OFFSET], n)
        ring.release(index)
        m.batch[count] = slot
        describe(m, slot, port, n - VNET_BYTES, 0, 0)
        total += n
        count += 1
    m.ctl[CTL_FREE] = free
    m.ctl[CTL_MORE] = ring.waiting(index)
    m.port_stats[port, 0] += count
    m.port_stats[port, 1] += total - count * VNET_BYTES
    return count


@compiled
def receive(m: Memory, port: int) -> int:
    """Up to a batch from `port`; ctl[CTL_MORE] says whether it may have more."""
    limit = m.ctl[CTL_BATCH]
    if m.ports[port, PORT_KIND] == KIND_RING:
        return receive_ring(m, port, limit)
    return receive_tap(m, port, limit)


@compiled
def vnic_receive(m: Memory, port: int) -> int:
    """Egress: receive from a VM that its rate limit does not hold back."""
    if not allowed(m, port):
        m.ctl[CTL_MORE] = 1
        return 0
    n = receive(m, port)
    charge(m, port, n)
    return n
