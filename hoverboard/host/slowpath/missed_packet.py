"""A packet on its way from an engine to the flow-miss coprocessor: read from the ring, and parsed (paper 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.memory import entries, packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import geneve, ring
from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.fastpath.packets.parse import OTHER, PARSED, parse

BURST = 8  # misses whose entries are installed together: bounds how long the first one waits


@dataclass(frozen=True)
class MissedPacket:
    """A packet that came from an engine, with its virtio-net header.

    Attributes:
        port: the engine's number of the port by which it arrived.
        kind: MISS_FLOW, MISS_CONTROL, or MISS_STAGED and above: then `frame` is the inner one, and `tunnel` is set.
    """

    port: int
    kind: int
    tunnel: int
    frame: bytes


def take(m: Memory) -> list[MissedPacket]:
    """Take up to BURST packets from the miss ring of an engine."""
    taken = []
    for _ in range(min(BURST, int(ring.waiting(m.miss_index)))):
        meta = m.miss_meta[slot := int(ring.slot_at(m.miss_index, m.miss_meta))]
        begin = slot * packets.SLOT_BYTES + packets.HEADROOM - packets.VNET_BYTES
        frame = m.miss_data[begin : begin + int(meta[rings.LENGTH])].tobytes()
        taken.append(MissedPacket(int(meta[rings.PORT]), int(meta[rings.KIND]), int(meta[rings.TUNNEL]), frame))
        ring.release(m.miss_index)
        m.pending[ports.COUNT + taken[-1].port] += 1
    return taken


def parsed(missed: MissedPacket, local_ip: IPv4Address, ofport: int) -> tuple[Key, int, bytes] | str:
    """(3-tuple key, ports, inner frame) of a missed packet; when it is malformed, the drop reason.

    `local_ip` is the underlay address of this host. `ofport` is the OpenFlow number of the port by which the packet
    arrived; for the uplink it is not used.
    """
    data = np.frombuffer(bytearray(missed.frame), np.uint8)
    row = np.zeros(packets.WORDS, np.int64)
    key = np.zeros(entries.KEY_WORDS, np.int64)
    start, length, tunnel, in_port = packets.VNET_BYTES, len(data) - packets.VNET_BYTES, missed.tunnel, TUNNEL_PORT
    if missed.port != ports.UPLINK:
        in_port = ofport
    elif missed.kind < rings.MISS_STAGED:
        verdict, tunnel = geneve.decapsulate(data, start, length, int(local_ip), row)
        if verdict != geneve.DECAPSULATED:
            return reasons.NAMES[verdict if verdict >= 0 else reasons.NOT_GENEVE]
        start, length = int(row[packets.FRAME]), int(row[packets.LENGTH])
    kind = parse(data, start, length, in_port, tunnel, key, row)
    if kind not in (PARSED, OTHER):
        return reasons.NAMES[kind]
    inner = missed.frame[start : start + length]
    return tuple(key.tolist()), int(row[packets.PORTS]), inner
