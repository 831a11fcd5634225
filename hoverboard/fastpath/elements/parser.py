"""Packet parser: makes the flow keys and hashes of a batch (figures 6, 7).

After each packet it prefetches the cache line that the lookup reads first. While that line is loaded, the next packets
are parsed.
"""

from __future__ import annotations

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.compiled.atomics import prefetch
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.memory import control, entries, packets, ports
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.parse import mix, parse


@compiled
def parse_packets(m: Memory, n: int) -> int:
    """Fill packet_keys, packets.PORTS, packets.PARSED and packets.HASH; drop malformed packets."""
    slots = m.slots[m.ctl[control.TABLE]]
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        key = m.packet_keys[slot]
        port = packet[packets.PORT]
        in_port = TUNNEL_PORT if port == ports.UPLINK else m.ports[port, ports.OFPORT]
        parsed = parse(
            m.pool, packet[packets.FRAME], packet[packets.LENGTH], in_port, packet[packets.TUNNEL], key, packet
        )
        if parsed >= 0:
            drop(m, slot, parsed)
            continue
        packet[packets.PARSED] = parsed  # tour: miss 2
        hashed = mix(key, 0, 0)
        packet[packets.HASH] = hashed
        prefetch(slots, hashed & (entries.HASH_SLOTS - 1))
        m.batch[kept] = slot
        kept += 1
    return kept
