"""Decapsulation: outer headers checked and taken off (the paper's GRE decap); a staged packet has none any more."""

from __future__ import annotations

from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.divert import to_control
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.geneve import FOR_HOST, decapsulate
from hoverboard.fastpath.layout import (
    HOST_IP,
    MISS_CONTROL,
    P_PORT,
    P_STAGED,
    P_START,
    P_TOTAL,
    P_TUNNEL,
    UPLINK,
    Memory,
)


@compiled
def decapsulate_packets(m: Memory, n: int) -> int:
    """Set P_FRAME, P_LENGTH, P_VNET and P_TUNNEL; ARP and probes go to the control thread."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        if packet[P_PORT] == UPLINK and not packet[P_STAGED]:
            verdict, tunnel = decapsulate(m.pool, packet[P_START], packet[P_TOTAL], m.host[HOST_IP], packet)
            if verdict >= 0:
                drop(m, slot, verdict)
                continue
            if verdict == FOR_HOST:
                to_control(m, slot, MISS_CONTROL)
                continue
            packet[P_TUNNEL] = tunnel
        m.batch[kept] = slot
        kept += 1
    return kept
