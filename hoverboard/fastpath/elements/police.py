"""The capacity of a Hoverboard: what the fabric brings beyond so many packets, or bytes, a second is dropped.

Two leaky buckets (the generic cell rate algorithm, ITU-T I.371): each packet pushes the time at which the work
taken is done; one that comes while that lies too far ahead is dropped. Ours: the paper gives gateways no numbers.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.memory import control, packets, ports, reasons
from hoverboard.fastpath.memory.arrays import Memory

AHEAD_NS = 10_000_000  # work that may wait: what a queue of 10 ms would hold


@compiled
def police(m: Memory, n: int) -> int:
    """Drop what the capacity does not suffice for; a whole segment is one packet. Free where there is no limit.

    A limit of 0 ns is none. The time is ctl[control.NOW], which lags by a few passes: nothing beside AHEAD_NS.
    """
    packet_ns = m.ctl[control.PACKET_NS]
    kilobyte_ns = m.ctl[control.KILOBYTE_NS]
    if packet_ns == 0 and kilobyte_ns == 0:
        return n
    now = m.ctl[control.NOW]
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        if packet[packets.PORT] == ports.UPLINK and not packet[packets.STAGED]:
            if max(m.ctl[control.PACKETS_DUE], m.ctl[control.BYTES_DUE]) - now > AHEAD_NS:
                drop(m, slot, reasons.CAPACITY)
                continue
            m.ctl[control.PACKETS_DUE] = max(m.ctl[control.PACKETS_DUE], now) + packet_ns
            m.ctl[control.BYTES_DUE] = max(m.ctl[control.BYTES_DUE], now) + (packet[packets.TOTAL] * kilobyte_ns >> 10)
        m.batch[kept] = slot
        kept += 1
    return kept
