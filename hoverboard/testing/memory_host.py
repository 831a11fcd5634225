"""One host's two engines over ports in memory, without threads: frames in, frames and counts out.

Each port is a pair of rings. A test pushes frames, makes an engine serve the port, and reads the rings.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoverboard.contract.encapsulation import OUTER_BYTES, SEGMENT_OPTION_BYTES
from hoverboard.fastpath.elements.receive import describe
from hoverboard.fastpath.engine.compose import compose
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import control, entries, host, packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import geneve, ring
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable, Key
from hoverboard.fastpath.packets.parse import parse, with_ports

Array = NDArray[Any]

LOCAL, REMOTE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
VNI = 0x5A5A5
VM, OTHER_VM = 2, 3
OFPORTS = {VM: 100, OTHER_VM: 101}
PEER = 5  # number of REMOTE among the peers
NO_VNET = bytes(packets.VNET_BYTES)


@dataclass(frozen=True)
class Taken:
    """A packet read from a ring: META words, virtio-net header, frame."""

    port: int
    kind: int
    tunnel: int
    vnet: bytes
    frame: bytes


def array(data: bytes, before: int = 0) -> Array:
    """A uint8 array of `before` zero bytes and `data`, with no byte after them."""
    return np.frombuffer(bytearray(bytes(before) + data), np.uint8)


def empty_key() -> Array:
    """A flow key of zeros."""
    return np.zeros(entries.KEY_WORDS, np.int64)


def empty_packet() -> Array:
    """A row of packets[] of zeros."""
    return np.zeros(packets.WORDS, np.int64)


def take(index: Array, meta: Array, data: Array) -> list[Taken]:
    """Take all packets of a ring, in order."""
    taken = []
    while ring.waiting(index):
        row = meta[at := int(ring.slot_at(index, meta))]
        begin = at * packets.SLOT_BYTES + int(row[rings.OFFSET])
        whole = data[begin : begin + int(row[rings.LENGTH])].tobytes()
        words = (int(row[rings.PORT]), int(row[rings.KIND]), int(row[rings.TUNNEL]))
        taken.append(Taken(*words, whole[: packets.VNET_BYTES], whole[packets.VNET_BYTES :]))
        ring.release(index)
    return taken


def vnet(gso_type: int = 0, size: int = 0, start: int = 34, offset: int = 16, flags: int = 1) -> bytes:
    """A virtio-net header that asks for a checksum and, with a gso_type, for segmentation."""
    return struct.pack("<BBHHHHH", flags, gso_type, 0, size, start, offset, 0)


def tunnel_word(source: IPv4Address = REMOTE, vni: int = VNI) -> int:
    """Word 1 of a flow key: tunnel source and VNI."""
    word = int(source) << 32 | vni
    return word - (1 << 64) if word >> 63 else word


def key_of(inner: bytes, in_port: int, tunnel: int = 0, five: bool = False) -> Key:
    """The flow key of an inner frame."""
    key, packet = empty_key(), empty_packet()
    assert parse(array(inner), 0, len(inner), in_port, tunnel, key, packet) < 0
    words = tuple(int(word) for word in key)
    return with_ports(words, int(packet[packets.PORTS])) if five else words


def to_tunnel(remote: IPv4Address = REMOTE, vni: int = VNI, peer: int = PEER, **more: Any) -> Entry:
    """An entry that sends packets through the tunnel."""
    headers, checksum = geneve.template(LOCAL, remote, vni)
    return Entry(entries.ACT_TUNNEL, peer, template=headers, checksum=checksum, **more)


class MemoryHost:
    """Engines whose ports are rings in memory; nothing runs before it is called.

    Args:
        ofports: engine port -> OpenFlow port of each VM.
    """

    def __init__(self, ofports: dict[int, int] | None = None) -> None:
        self.datapath = Datapath(local_ip=LOCAL)
        self.egress, self.ingress = self.datapath.memories
        self.ofports = ofports = OFPORTS if ofports is None else ofports
        for port in (ports.UPLINK, *ofports):
            self.egress.ports[port, ports.KIND] = ports.KIND_RING
            self.egress.ports[port, ports.OFPORT] = ofports.get(port, 0)
        self.egress.host[host.PORTS] = max(ofports) + 1
        self.table = FlowTable(self.datapath.memories, self.datapath.switch_table)

    def close(self) -> None:
        """Close the engines' descriptors."""
        self.datapath.stop()

    def reset(self) -> None:
        """Empty the table and the rings, remove rate limits, set counters to 0."""
        self.table.update(remove=list(self.table.statistics()))
        self.reset_rings()
        self.egress.peers[:] = 0
        self.egress.ports[:, 3:7] = 0
        self.egress.ports[:, 7] = 1

    def reset_rings(self) -> None:
        """Empty rings and queues, and set counters to 0; the table stays."""
        for m in self.datapath.memories:
            for side in range(rings.SIDES):
                m.side_index[:, side] = 0
            m.side_wake[:] = 0
            m.side_wake[:, 0] = m.side_wake[:, 2] = -1
            for counters in (
                m.drops, m.port_stats, m.pending, m.queue_state, m.miss_index, m.inject_index, m.cpu, m.samples,
            ):  # fmt: skip
                counters[:] = 0
            m.ctl[control.QUEUED] = 0
            self.reset_pool(m)

    @staticmethod
    def reset_pool(m: Memory) -> None:
        """Mark every pool slot free."""
        m.ctl[control.FREE] = packets.POOL_SLOTS
        m.free[:] = range(packets.POOL_SLOTS - 1, -1, -1)

    def memory(self, port: int) -> Memory:
        """The engine that receives from a port."""
        return self.ingress if port == ports.UPLINK else self.egress

    def push(self, port: int, frame: bytes, header: bytes = NO_VNET) -> bool:
        """Push a frame to a port; False when its ring is full."""
        m = self.memory(port)
        whole = array(header + frame)
        return ring.push(
            m.side_index[port, rings.FROM_VMM], m.side_meta[port, rings.FROM_VMM], m.side_data[port, rings.FROM_VMM],
            port, packets.HEADROOM - packets.VNET_BYTES, 0, 0, whole, 0, len(whole),
        )  # fmt: skip

    def serve(self, port: int) -> int:
        """Run one turn of the engine with a port; return the number of packets received."""
        return int(compose().serve(self.memory(port), port))

    def attend(self) -> None:
        """Make both engines look after their rings."""
        for m in self.datapath.memories:
            compose().serve_rings(m)

    def sent(self, port: int, m: Memory | None = None) -> list[Taken]:
        """Packets that left by a port, from both engines or from `m`."""
        memories = self.datapath.memories if m is None else (m,)
        return [
            packet
            for m in memories
            for packet in take(
                m.side_index[port, rings.TO_VMM], m.side_meta[port, rings.TO_VMM], m.side_data[port, rings.TO_VMM]
            )
        ]

    def side(self, m: Memory, port: int, side: int) -> list[Taken]:
        """Packets that wait in a ring beside a port."""
        return take(m.side_index[port, side], m.side_meta[port, side], m.side_data[port, side])

    def missed(self, m: Memory) -> list[Taken]:
        """Packets that wait for the control thread."""
        missed = take(m.miss_index, m.miss_meta, m.miss_data)
        for packet in missed:
            m.pending[ports.COUNT + packet.port] += 1
        return missed

    def drops(self) -> dict[str, int]:
        """Drops by reason, of both engines together."""
        counts = self.egress.drops + self.ingress.drops
        return {reason: int(count) for reason, count in zip(reasons.NAMES, counts, strict=True) if count}

    def place(
        self, m: Memory, frame: bytes, port: int, header: bytes = NO_VNET, tunnel: int = 0, staged: int = 0
    ) -> int:
        """Put a received frame into the pool, at the end of a batch that the caller counts; return its slot."""
        m.ctl[control.FREE] -= 1
        slot = int(m.free[m.ctl[control.FREE]])
        begin = slot * packets.SLOT_BYTES + packets.HEADROOM - packets.VNET_BYTES
        m.pool[begin : begin + packets.VNET_BYTES + len(frame)] = array(header + frame)
        describe(m, slot, port, len(frame), tunnel, staged)
        return slot

    def batch(self, m: Memory, *slots: int) -> int:
        """Make these slots the batch; return its length."""
        for i, slot in enumerate(slots):
            m.batch[i] = slot
        return len(slots)

    @staticmethod
    def frame(m: Memory, slot: int, start: int, length: int = packets.LENGTH) -> bytes:
        """Bytes of a packet in the pool, by the columns that hold their start and length."""
        begin, count = int(m.packets[slot, start]), int(m.packets[slot, length])
        return m.pool[begin : begin + count].tobytes()

    @staticmethod
    def all_free(m: Memory) -> bool:
        """Whether every pool slot is on the free list exactly once."""
        return int(m.ctl[control.FREE]) == packets.POOL_SLOTS and sorted(m.free) == list(range(packets.POOL_SLOTS))


def unwrapped(frame: bytes, segment: bool = False) -> bytes:
    """The inner frame of an encapsulated one."""
    return frame[OUTER_BYTES + (SEGMENT_OPTION_BYTES if segment else 0) :]


__all__ = [
    "LOCAL", "NO_VNET", "OFPORTS", "OTHER_VM", "PEER", "REMOTE", "VM", "VNI", "MemoryHost", "Taken",
    "array", "empty_key", "empty_packet", "key_of", "take", "to_tunnel", "tunnel_word", "unwrapped", "vnet",
]  # fmt: skip
