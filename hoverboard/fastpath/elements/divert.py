"""Side exits of an engine: to the control thread on a miss, to a VM's coprocessor (figures 5 to 7).

Packets leave by rings with room for a few of each VM, so that one VM's flood of new flows, or its slow
coprocessor, costs nobody else (section 6.1).
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath import ring, syscalls
from hoverboard.fastpath.atomics import fence
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.pool import drop, free_slot
from hoverboard.fastpath.layout import (
    COPROCESSOR_ASLEEP,
    COPROCESSOR_FD,
    HEADROOM,
    MISS_STAGED,
    MISSES_OF_UPLINK,
    MISSES_PER_PORT,
    P_FRAME,
    P_LENGTH,
    P_PORT,
    P_START,
    P_TOTAL,
    P_TUNNEL,
    P_VNET,
    PORTS,
    R_MISS_FULL,
    TO_COPROCESSOR,
    UPLINK,
    VNET_BYTES,
    Memory,
)
from hoverboard.fastpath.packet import Bytes, clear


@compiled
def ring_bell(m: Memory, fd: int) -> None:
    """Write 1 to an eventfd (the start of scratch is borrowed as its source)."""
    for i in range(8):
        m.scratch[i] = 0
    m.scratch[0] = 1
    syscalls.write(np.int32(fd), np.uintp(m.scratch.ctypes.data), np.uintp(8))


@compiled
def to_control(m: Memory, slot: int, kind: int) -> None:
    """Give a whole received frame to the control thread, or the inner frame when its stages are done."""
    packet = m.packets[slot]
    port = packet[P_PORT]
    staged = kind >= MISS_STAGED
    start = packet[P_FRAME] if staged else packet[P_START]
    length = packet[P_LENGTH] if staged else packet[P_TOTAL]
    allowed = MISSES_OF_UPLINK if port == UPLINK else MISSES_PER_PORT
    if m.pending[port] - m.pending[PORTS + port] >= allowed or not ring.push(
        m.miss_index, m.miss_meta, m.miss_data, port, HEADROOM - VNET_BYTES, kind, packet[P_TUNNEL],
        m.pool, start - VNET_BYTES, length + VNET_BYTES,
    ):  # fmt: skip
        drop(m, slot, R_MISS_FULL)
        return
    m.pending[port] += 1
    free_slot(m, slot)


@compiled
def clear_vnet(data: Bytes, frame: int) -> None:
    """An all-zero virtio-net header before the frame: a complete, checksummed packet."""
    clear(data, frame - VNET_BYTES, VNET_BYTES)


@compiled
def to_coprocessor(m: Memory, slot: int, vm: int, chain: int) -> bool:
    """Copy the inner frame to the ring of the coprocessor of port `vm`; False when it is full."""
    packet = m.packets[slot]
    frame = packet[P_FRAME]
    if not packet[P_VNET]:
        clear_vnet(m.pool, frame)
        packet[P_VNET] = 1
    wake = m.side_wake[vm]
    if wake[COPROCESSOR_FD] < 0 or not ring.push(
        m.side_index[vm, TO_COPROCESSOR], m.side_meta[vm, TO_COPROCESSOR], m.side_data[vm, TO_COPROCESSOR],
        packet[P_PORT], HEADROOM - VNET_BYTES, chain, packet[P_TUNNEL],
        m.pool, frame - VNET_BYTES, packet[P_LENGTH] + VNET_BYTES,
    ):  # fmt: skip
        return False
    fence()
    if wake[COPROCESSOR_ASLEEP]:
        wake[COPROCESSOR_ASLEEP] = 0
        ring_bell(m, wake[COPROCESSOR_FD])
    return True
