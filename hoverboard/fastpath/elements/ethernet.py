"""Sets the Ethernet header as the entry requires: the action of a routed hop (section 4.3)."""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import entries, packets
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.parse import put16, put32


@compiled
def set_ethernet(m: Memory, n: int) -> int:
    """Write the destination and source MAC of packets whose entry has them."""
    for i in range(n):
        packet = m.packets[m.batch[i]]
        macs = m.entries[packet[packets.INDEX], entries.MACS]
        if macs:
            frame = packet[packets.FRAME]
            put16(m.pool, frame, m.macs[macs, 0] >> 32)
            put32(m.pool, frame + 2, m.macs[macs, 0])
            put16(m.pool, frame + 6, m.macs[macs, 1] >> 32)
            put32(m.pool, frame + 8, m.macs[macs, 1])
    return n
