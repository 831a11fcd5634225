"""Side exits of an engine: to the control thread on a miss, to a VM's coprocessor (figures 5 to 7).

The rings to them have room for a few packets of each VM. So neither one VM's flood of new flows nor its slow
coprocessor costs other VMs (section 6.1).
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.atomics import fence
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.pool import drop, free_slot
from hoverboard.fastpath.memory import packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.parse import Bytes, clear


@compiled
def write_eventfd(m: Memory, fd: int) -> None:
    """Write 1 to an eventfd; the start of scratch[] serves as the buffer."""
    for i in range(8):
        m.scratch[i] = 0
    m.scratch[0] = 1
    syscalls.write(np.int32(fd), np.uintp(m.scratch.ctypes.data), np.uintp(8))


@compiled
def to_control(m: Memory, slot: int, kind: int) -> None:
    """Send a whole received frame to the control thread, or the inner frame when its stages are done."""
    packet = m.packets[slot]
    port = packet[packets.PORT]
    staged = kind >= rings.MISS_STAGED
    start = packet[packets.FRAME] if staged else packet[packets.START]
    length = packet[packets.LENGTH] if staged else packet[packets.TOTAL]
    allowed = rings.MISSES_OF_UPLINK if port == ports.UPLINK else rings.MISSES_PER_PORT
    if m.pending[port] - m.pending[ports.COUNT + port] >= allowed or not ring.push(
        m.miss_index,
        m.miss_meta,
        m.miss_data,
        port,
        packets.HEADROOM - packets.VNET_BYTES,
        kind,
        packet[packets.TUNNEL],
        m.pool,
        start - packets.VNET_BYTES,
        length + packets.VNET_BYTES,
    ):
        drop(m, slot, reasons.MISS_FULL)
        return
    m.pending[port] += 1
    free_slot(m, slot)


@compiled
def clear_vnet(data: Bytes, frame: int) -> None:
    """Write an all-zero virtio-net header before the frame: it means a complete, checksummed packet."""
    clear(data, frame - packets.VNET_BYTES, packets.VNET_BYTES)


@compiled
def to_coprocessor(m: Memory, slot: int, vm: int, chain: int) -> bool:
    """Copy the inner frame to the ring of the coprocessor of port `vm`; False when the ring is full."""
    packet = m.packets[slot]
    frame = packet[packets.FRAME]
    if not packet[packets.VNET]:
        clear_vnet(m.pool, frame)
        packet[packets.VNET] = 1
    wake = m.side_wake[vm]
    if wake[rings.COPROCESSOR_FD] < 0 or not ring.push(
        m.side_index[vm, rings.TO_COPROCESSOR],
        m.side_meta[vm, rings.TO_COPROCESSOR],
        m.side_data[vm, rings.TO_COPROCESSOR],
        packet[packets.PORT],
        packets.HEADROOM - packets.VNET_BYTES,
        chain,
        packet[packets.TUNNEL],
        m.pool,
        frame - packets.VNET_BYTES,
        packet[packets.LENGTH] + packets.VNET_BYTES,
    ):
        return False
    fence()
    if wake[rings.COPROCESSOR_ASLEEP]:
        wake[rings.COPROCESSOR_ASLEEP] = 0
        write_eventfd(m, wake[rings.COPROCESSOR_FD])
    return True
