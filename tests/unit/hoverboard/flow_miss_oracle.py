"""Flow misses whose switch says what the test wants, and engines that stand still: their rings stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hoverboard.contract.pipeline import Kind
from hoverboard.fastpath import ring
from hoverboard.fastpath.datapath import Datapath
from hoverboard.fastpath.flowtable import FlowTable, Key
from hoverboard.fastpath.layout import (
    HEADROOM,
    INJECT_RAW,
    MISS_FLOW,
    PORT_OFPORT,
    UPLINK,
    VNET_BYTES,
)
from hoverboard.host.misses import FlowMisses
from hoverboard.host.peers import Peers
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.trace import Verdict
from tests.unit.hoverboard.memory_host import take
from tests.unit.hoverboard.packets import IP, UDP, Ether, Raw, array, frame

LOCAL, REMOTE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
PORT, OFPORT = 2, 100
ROUTED = Verdict(Kind.ROUTE, 7, 1, REMOTE, 7, {}, frozenset(), False, True)
SPOOFED = Verdict(Kind.DROP_SPOOFED, 7, None, None, 0, {}, frozenset(), False, True)
OFFLOADED = replace(ROUTED, kind=Kind.OFFLOAD, tun_dst=IPv4Address("172.16.0.9"))
EMPTY = replace(SPOOFED, kind=None, matched=False)
LOCAL_FLOW = replace(ROUTED, out_port=OFPORT + 1, tun_dst=None, tun_id=0, vni=7)
Answer = Verdict | Exception


class Oracle(FlowMisses):
    """Flow misses whose switch answers from `answer`; raises it if it is an exception."""

    answer: Answer | Callable[[str], Answer] = ROUTED

    def _trace(self, question: str) -> Verdict:
        self.traces += 1
        answer = self.answer(question) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


def oracle(directory: Path, kind: type[FlowMisses] = Oracle, switch: Any = None) -> FlowMisses:
    """Flow misses of a host with VMs at PORT and PORT + 1; nothing runs."""
    datapath = Datapath()
    datapath.egress.ports[[PORT, PORT + 1], PORT_OFPORT] = OFPORT, OFPORT + 1
    table = FlowTable(datapath.memories, datapath.switch_table)
    vports = {OFPORT: PORT, OFPORT + 1: PORT + 1}
    return kind(datapath, table, switch or Ovs(directory), LOCAL, Peers(datapath, LOCAL), vports.get)


def missed(handler: FlowMisses, data: bytes, port: int = PORT, kind: int = MISS_FLOW, tunnel: int = 0) -> None:
    """The engine missed on `data`, which came in by a port."""
    m = handler._datapath.ingress if port == UPLINK else handler._datapath.egress
    packet = array(bytes(VNET_BYTES) + data)
    assert ring.push(
        m.miss_index, m.miss_meta, m.miss_data, port, HEADROOM - VNET_BYTES, kind, tunnel, packet, 0, len(packet)
    )
    m.pending[port] += 1


def from_fabric(inner: bytes, vni: int = 7) -> bytes:
    """An inner frame as the fabric brings it from REMOTE."""
    ethernet, ip = Ether(src="02:fa:ac:10:00:02", dst="02:fa:ac:10:00:01"), IP(src=str(REMOTE), dst=str(LOCAL))
    header = b"\0\0\x65\x58" + (vni << 8).to_bytes(4, "big")
    return bytes(ethernet / ip / UDP(sport=50000, dport=6081, chksum=0) / Raw(header + inner))


def entry(handler: FlowMisses) -> tuple[int, int]:
    """(action, target) of the only entry."""
    ((action, target, *_),) = handler._table.statistics().values()
    return action, target


def carry(handler: FlowMisses, packets: int, octets: int) -> None:
    """The engine counts so much more on the only entry."""
    (row,) = handler._table._rows.values()
    handler._datapath.egress.stats[row] += (packets, octets)


def learn(handler: FlowMisses, count: int) -> None:
    """So many entries, by as many misses."""
    for proto in range(100, 100 + count):
        missed(handler, frame(proto=proto))
    while ring.waiting(handler._datapath.egress.miss_index):
        handler.handle()


def learnt(handler: FlowMisses, protocols: Sequence[int]) -> list[Key]:
    """Entries for packets of these protocols, in this order."""
    for proto in protocols:
        missed(handler, frame(proto=proto))
        handler.handle()
    keys = list(handler.cached)
    assert len(handler._table) == len(keys)
    return keys[-len(protocols) :]


def carried(handler: FlowMisses, key: Key, packets: int) -> None:
    """The engines have counted packets of an entry."""
    for m in handler._datapath.memories:
        m.stats[handler._table._rows[key]] += (packets, packets * 100)


def doubt(handler: FlowMisses) -> None:
    """As the loop does: until the engines' news says that nothing is left."""
    handler.doubt()
    handler.ask_some()
    while handler.doubtful:
        before = handler.doubtful
        handler.ask_some()
        if handler.doubtful == before:
            return


def kinds(handler: FlowMisses) -> list[Kind | None]:
    """What the answers of all entries are for."""
    return [cached.verdict.kind for cached in handler.cached.values()]


def injected(handler: FlowMisses, port: int = PORT, *, raw: bool = False) -> list[tuple[int, int, int, bytes]]:
    """(port, kind, tunnel, frame with its virtio-net header) of what waits for an engine; `raw`: to send by `port`."""
    m = handler._datapath.ingress if (port == UPLINK) != raw else handler._datapath.egress
    taken = int(m.inject_index[ring.TAKEN])
    found = take(m.inject_index, m.inject_meta, m.inject_data)
    m.inject_index[ring.TAKEN] = taken
    return [
        (one.port, one.kind, one.tunnel, one.vnet + one.frame)
        for one in found
        if one.port == port and (one.kind == INJECT_RAW) == raw
    ]
