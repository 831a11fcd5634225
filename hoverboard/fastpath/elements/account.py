"""Counts the packets and bytes of each flow-table entry, for each engine on its own; drops packets by reason."""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.memory import entries, packets
from hoverboard.fastpath.memory.arrays import Memory


@compiled
def account(m: Memory, n: int) -> int:
    """Count each packet once, before its stages; drop packets whose entry has ACT_DROP."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        index = packet[packets.INDEX]
        if not packet[packets.STAGED]:
            m.stats[index, 0] += 1
            m.stats[index, 1] += packet[packets.LENGTH]  # tour: report 1
        if m.entries[index, entries.ACTION] == entries.ACT_DROP:
            drop(m, slot, m.entries[index, entries.TARGET])
            continue
        m.batch[kept] = slot
        kept += 1
    return kept
