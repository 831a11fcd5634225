"""The capacity of a Hoverboard: drops packets from the fabric above a limit of packets, or bytes, a second.

Two leaky buckets (the generic cell rate algorithm, ITU-T I.371). Each packet moves the time at which the accepted work
is done. A packet that comes when this time is too far ahead is dropped. The numbers are ours: the paper gives none for
gateways.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.memory import control, packets, ports, reasons
from hoverboard.fastpath.memory.arrays import Memory

AHEAD_NS = 10_000_000  # work that may wait: as much as a queue of 10 ms would hold


@compiled
def police(m: Memory, n: int) -> int:
    """Drop packets above the capacity; a whole segment is one packet. Without a limit this costs nothing.

    A cost of 0 ns means no limit. The time is ctl[control.NOW], which lags by a few passes: very little beside
    AHEAD_NS.
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
