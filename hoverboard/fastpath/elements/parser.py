"""Packet parser: flow keys and hashes of a batch (figures 6, 7).

It ends each packet by asking for the cache line that the look-up will read first: while one line is on
its way, the next packets are parsed.
"""

from __future__ import annotations

from hoverboard.contract.pipeline import TUNNEL_PORT
from hoverboard.fastpath.atomics import prefetch
from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.layout import (
    CTL_TABLE,
    HASH_SLOTS,
    P_FRAME,
    P_HASH,
    P_LENGTH,
    P_PARSED,
    P_PORT,
    P_TUNNEL,
    PORT_OFPORT,
    UPLINK,
    Memory,
)
from hoverboard.fastpath.packet import mix, parse


@compiled
def parse_packets(m: Memory, n: int) -> int:
    """Fill packet_keys, P_PORTS, P_PARSED and P_HASH; drops what is malformed."""
    slots = m.slots[m.ctl[CTL_TABLE]]
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        key = m.packet_keys[slot]
        port = packet[P_PORT]
        in_port = TUNNEL_PORT if port == UPLINK else m.ports[port, PORT_OFPORT]
        parsed = parse(m.pool, packet[P_FRAME], packet[P_LENGTH], in_port, packet[P_TUNNEL], key, packet)
        if parsed >= 0:
            drop(m, slot, parsed)
            continue
        packet[P_PARSED] = parsed
        hashed = mix(key, 0, 0)
        packet[P_HASH] = hashed
        prefetch(slots, hashed & (HASH_SLOTS - 1))
        m.batch[kept] = slot
        kept += 1
    return kept
