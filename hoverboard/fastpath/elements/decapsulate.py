"""Decapsulation: checks and removes outer headers (the paper's GRE decap). A staged packet lost them before."""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.divert import to_control
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.memory import host, packets, ports, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.geneve import FOR_HOST, decapsulate


@compiled
def decapsulate_packets(m: Memory, n: int) -> int:
    """Set FRAME, LENGTH, VNET and TUNNEL of packets; ARP and probes go to the control thread."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        if packet[packets.PORT] == ports.UPLINK and not packet[packets.STAGED]:
            verdict, tunnel = decapsulate(m.pool, packet[packets.START], packet[packets.TOTAL], m.host[host.IP], packet)
            if verdict >= 0:
                drop(m, slot, verdict)
                continue
            if verdict == FOR_HOST:
                to_control(m, slot, rings.MISS_CONTROL)
                continue
            packet[packets.TUNNEL] = tunnel  # tour: miss 12
        m.batch[kept] = slot
        kept += 1
    return kept
