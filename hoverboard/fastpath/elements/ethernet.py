"""Set the Ethernet header as the entry says: the action of a routed hop (section 4.3)."""

from __future__ import annotations

from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.layout import E_DST, E_SRC, P_FRAME, P_INDEX, Memory
from hoverboard.fastpath.packet import put16, put32


@compiled
def set_ethernet(m: Memory, n: int) -> int:
    """Write destination and source MAC of entries that set them."""
    for i in range(n):
        packet = m.packets[m.batch[i]]
        entry = m.entries[packet[P_INDEX]]
        if entry[E_DST]:
            frame = packet[P_FRAME]
            put16(m.pool, frame, entry[E_DST] >> 32)
            put32(m.pool, frame + 2, entry[E_DST])
            put16(m.pool, frame + 6, entry[E_SRC] >> 32)
            put32(m.pool, frame + 8, entry[E_SRC])
    return n
