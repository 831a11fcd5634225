"""Encapsulation: sets the output of each packet, and adds outer headers for the tunnel (the paper's GRE encap)."""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.elements.divert import clear_vnet
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.memory import entries, packets, ports, reasons
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import segment
from hoverboard.fastpath.packets.geneve import encapsulate
from hoverboard.fastpath.packets.parse import ETH_IPV4, ETH_IPV6, Words, be16
from hoverboard.fastpath.packets.segment import V_FLAGS, V_GSO_TYPE

CUT = -1  # packets.OUT_LENGTH of a segment that transmit must cut in software


@compiled
def ecn_of(m: Memory, frame: int) -> int:
    """ECN bits of the inner packet (0 if it is not IP), to be copied to the outer header (RFC 6040)."""
    kind = be16(m.pool, frame + 12)
    if kind == ETH_IPV6:
        return np.int64(m.pool[frame + 15]) >> 4 & 3
    return np.int64(m.pool[frame + 15] & 3) if kind == ETH_IPV4 else 0


@compiled
def entropy_of(packet: Words) -> int:
    """The value that picks the UDP source port: the flow's hash, with its ports (RFC 8926 3.3)."""
    ports = packet[packets.PORTS]
    return packet[packets.HASH] ^ ports ^ ports >> 16


@compiled
def encapsulate_packets(m: Memory, n: int) -> int:
    """Set OUT, OUT_START and OUT_LENGTH of packets; for the tunnel, write the outer headers before the frame."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        packet = m.packets[slot]
        frame = packet[packets.FRAME]
        length = packet[packets.LENGTH]
        index = packet[packets.INDEX]
        if not packet[packets.VNET]:
            clear_vnet(m.pool, frame)
            packet[packets.VNET] = 1
        packet[packets.OUT_START] = frame
        packet[packets.OUT_LENGTH] = length
        packet[packets.OUT] = m.entries[index, entries.TARGET]
        if m.entries[index, entries.ACTION] != entries.ACT_VPORT:
            packet[packets.OUT] = ports.UPLINK
            vnet = frame - packets.VNET_BYTES
            whole = True
            unfinished = m.pool[vnet + V_FLAGS] & segment.NEEDS_CSUM or m.pool[vnet + V_GSO_TYPE]
            carried = unfinished and m.peers[m.entries[index, entries.TARGET]]
            if unfinished and not carried:
                if m.pool[vnet + V_GSO_TYPE]:
                    whole = False
                elif not segment.complete_checksum(m.pool, frame, length):
                    drop(m, slot, reasons.SEGMENT)
                    continue
            if whole:
                outer = encapsulate(
                    m, m.pool, frame, length, index, carried, entropy_of(packet), ecn_of(m, frame)
                )  # fmt: skip
                packet[packets.OUT_START] = outer  # tour: miss 11
                packet[packets.OUT_LENGTH] = length + frame - outer
            else:
                packet[packets.OUT_LENGTH] = CUT
        m.batch[kept] = slot
        kept += 1
    return kept
