"""Flow misses whose switch says what the test wants, and engines that stand still: their rings stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.contract.packets import Address
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import packets, ports, rings
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.flow_table import FlowTable, Key
from hoverboard.host.coprocessing.flow_stages import StageLookup, no_stages
from hoverboard.host.listeners import NoListener
from hoverboard.host.slowpath.entry_writer import EntryWriter
from hoverboard.host.slowpath.flow_misses import FlowMisses
from hoverboard.host.underlay.peers import Peers
from hoverboard.testing.memory_host import take
from hoverboard.vswitch.trace import TraceResult
from tests.unit.hoverboard.fake_questions import FakeQuestions
from tests.unit.hoverboard.packets import IP, UDP, Ether, Raw, array, frame

LOCAL, REMOTE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
PORT, OFPORT = 2, 100
WAY = frozenset({0, 7})  # the metadata register as a packet of network 7 passes the tables
ROUTED = TraceResult(Kind.ROUTE, 7, 1, REMOTE, 7, {}, frozenset(), False, True, metadata=WAY)
SPOOFED = TraceResult(Kind.DROP_SPOOFED, 7, None, None, 0, {}, frozenset(), False, True, metadata=frozenset({0}))
OFFLOADED = replace(ROUTED, kind=Kind.OFFLOAD, tun_dst=IPv4Address("172.16.0.9"))
EMPTY = replace(SPOOFED, kind=None, matched=False)
LOCAL_FLOW = replace(ROUTED, out_port=OFPORT + 1, tun_dst=None, tun_id=0, vni=7)


class Received(NoListener):
    """Records the notifications of flow misses.

    Attributes:
        changed: keys of entries that came, went, or have another answer.
        wanted_routes: (VNI, destination, gateway) of flows for which a direct route may be learned.
    """

    def __init__(self) -> None:
        self.changed: list[Key] = []
        self.wanted_routes: list[tuple[int, Address, IPv4Address]] = []

    def flows_changed(self, keys: Iterable[Key]) -> None:
        self.changed.extend(keys)

    def route_wanted(self, vni: int, dst: Address, gateway: IPv4Address) -> None:
        self.wanted_routes.append((vni, dst, gateway))


class Oracle(FlowMisses):
    """Flow misses of a host with VMs at PORT and PORT + 1, and all that stands around them; nothing runs.

    Attributes:
        switch: answers ROUTED by default.
        received: the notifications.
        stages_of: which stages a flow uses.
    """

    def __init__(self) -> None:
        self.datapath = Datapath()
        self.datapath.egress.ports[[PORT, PORT + 1], ports.OFPORT] = OFPORT, OFPORT + 1
        self.table = FlowTable(self.datapath.memories, self.datapath.switch_table)
        self.peers = Peers(self.datapath, LOCAL)
        self.switch, self.received = FakeQuestions(ROUTED), Received()
        self.stages_of: StageLookup = no_stages
        vports = {OFPORT: PORT, OFPORT + 1: PORT + 1}
        entry_writer = EntryWriter(LOCAL, self.peers, vports.get, lambda *facts: self.stages_of(*facts))
        super().__init__(
            self.datapath, self.table, self.switch, entry_writer, self.peers,
            entries=self.received, routes=self.received,
        )  # fmt: skip


def missed(handler: Oracle, data: bytes, port: int = PORT, kind: int = rings.MISS_FLOW, tunnel: int = 0) -> None:
    """The engine missed on `data`, which came in by a port."""
    m = handler.datapath.ingress if port == ports.UPLINK else handler.datapath.egress
    packet = array(bytes(packets.VNET_BYTES) + data)
    assert ring.push(
        m.miss_index,
        m.miss_meta,
        m.miss_data,
        port,
        packets.HEADROOM - packets.VNET_BYTES,
        kind,
        tunnel,
        packet,
        0,
        len(packet),
    )
    m.pending[port] += 1


def from_fabric(inner: bytes, vni: int = 7) -> bytes:
    """An inner frame as the fabric brings it from REMOTE."""
    ethernet, ip = Ether(src="02:fa:ac:10:00:02", dst="02:fa:ac:10:00:01"), IP(src=str(REMOTE), dst=str(LOCAL))
    header = b"\0\0\x65\x58" + (vni << 8).to_bytes(4, "big")
    return bytes(ethernet / ip / UDP(sport=50000, dport=6081, chksum=0) / Raw(header + inner))


def entry(handler: Oracle) -> tuple[int, int]:
    """(action, target) of the only entry."""
    ((action, target, *_),) = handler.table.statistics().values()
    return action, target


def carry(handler: Oracle, packets: int, octets: int) -> None:
    """The engine counts so much more on the only entry."""
    (row,) = handler.table._rows.values()
    handler.datapath.egress.stats[row] += (packets, octets)


def learn(handler: Oracle, count: int) -> None:
    """So many entries, by as many misses."""
    for proto in range(100, 100 + count):
        missed(handler, frame(proto=proto))
    while ring.waiting(handler.datapath.egress.miss_index):
        handler.handle()


def learnt(handler: Oracle, protocols: Sequence[int]) -> list[Key]:
    """Entries for packets of these protocols, in this order."""
    for proto in protocols:
        missed(handler, frame(proto=proto))
        handler.handle()
    keys = list(handler.cached)
    assert len(handler.table) == len(keys)
    return keys[-len(protocols) :]


def carried(handler: Oracle, key: Key, packets: int) -> None:
    """The engines have counted packets of an entry."""
    for m in handler.datapath.memories:
        m.stats[handler.table._rows[key]] += (packets, packets * 100)


def revalidate_all(handler: Oracle) -> None:
    """As the loop does: until the engines' news says that nothing is left."""
    handler.mark_all_stale()
    handler.revalidate_some()
    while handler.stale:
        before = handler.stale
        handler.revalidate_some()
        if handler.stale == before:
            return


def kinds(handler: Oracle) -> list[Kind | None]:
    """What the answers of all entries are for."""
    return [cached.verdict.kind for cached in handler.cached.values()]


def injected(handler: Oracle, port: int = PORT, *, raw: bool = False) -> list[tuple[int, int, int, bytes]]:
    """(port, kind, tunnel, frame with its virtio-net header) of what waits for an engine; `raw`: to send by `port`."""
    m = handler.datapath.ingress if (port == ports.UPLINK) != raw else handler.datapath.egress
    taken = int(m.inject_index[ring.CONSUMED])
    found = take(m.inject_index, m.inject_meta, m.inject_data)
    m.inject_index[ring.CONSUMED] = taken
    return [
        (one.port, one.kind, one.tunnel, one.vnet + one.frame)
        for one in found
        if one.port == port and (one.kind == rings.INJECT_RAW) == raw
    ]
