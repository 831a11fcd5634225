"""A fake multi-table switch, and a fabric of such switches that follows a packet from VM to VM (unit tests).

It interprets the same flows as a real switch: tables, priorities, masks, actions. A packet is a dict of integer fields.
`tests/system/control_plane/` compares it with a real Open vSwitch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.program import Program
from hoverboard.contract.openflow.flow import (
    CONTROLLER,
    FIELDS,
    IN_PORT,
    Flow,
    FlowKey,
    Goto,
    Match,
    Move,
    Output,
    SetField,
)
from hoverboard.contract.openflow.pipeline import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_TCP,
    PROTO_UDP,
    TUNNEL_PORT,
    drop_reason,
    kind_of,
)
from hoverboard.contract.packets import mac_number

Packet = dict[str, int]

# A field exists in a packet only under these conditions (OpenFlow's prerequisites).
_PREREQUISITE: dict[str, tuple[str, frozenset[int]]] = {
    field: (other, frozenset(values))
    for fields, other, values in (
        (("ipv4_src", "ipv4_dst"), "eth_type", {ETH_IPV4}),
        (("ipv6_src", "ipv6_dst"), "eth_type", {ETH_IPV6}),
        (("ip_proto",), "eth_type", {ETH_IPV4, ETH_IPV6}),
        (("tcp_src", "tcp_dst"), "ip_proto", {PROTO_TCP}),
        (("udp_src", "udp_dst"), "ip_proto", {PROTO_UDP}),
        (("icmpv4_type",), "ip_proto", {PROTO_ICMP}),
        (("icmpv6_type", "icmpv6_code"), "ip_proto", {PROTO_ICMPV6}),
        (("ipv6_nd_target", "nd_reserved", "nd_options_type"), "icmpv6_type", {135, 136}),
        (("ipv6_nd_tll",), "icmpv6_type", {136}),
        (("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"), "eth_type", {ETH_ARP}),
    )
    for field in fields
}
_REGISTERS = ("reg5", "xxreg1")


@dataclass(frozen=True, slots=True)
class FakeVerdict:
    """The result of a packet in a switch.

    Attributes:
        outputs: (port, packet as it left), in order; empty: dropped.
        path: the flows that matched it.
        dropped: name of the drop reason, "" for a packet that left.
    """

    outputs: tuple[tuple[int, Packet], ...]
    path: tuple[Flow, ...]
    dropped: str


class FakeSwitch:
    """Flow tables in memory that behave like a switch's."""

    def __init__(self) -> None:
        self.flows: dict[FlowKey, Flow] = {}
        self.programs: list[Program] = []

    def apply(self, program: Program) -> None:
        """Apply a program; deleting an absent flow changes nothing, as in a real switch."""
        self.programs.append(program)
        for key in program.deletes:
            self.flows.pop(key, None)
        for flow in program.adds:
            self.flows[flow.key] = flow

    def dump(self) -> list[Flow]:
        """All flows."""
        return list(self.flows.values())

    def process(self, packet: Mapping[str, int], in_port: int) -> FakeVerdict:
        """Follow one packet through the tables."""
        now: Packet = {"metadata": 0, **dict.fromkeys(_REGISTERS, 0), **packet, "in_port": in_port}
        outputs: list[tuple[int, Packet]] = []
        path: list[Flow] = []
        table: int | None = 0
        while table is not None:
            flow = self._lookup(table, now)
            if flow is None:
                return FakeVerdict(tuple(outputs), tuple(path), "" if outputs else "table-miss")
            path.append(flow)
            table = self._execute(flow, now, outputs)
        return FakeVerdict(tuple(outputs), tuple(path), "" if outputs else _reason(path[-1]))

    def _lookup(self, table: int, packet: Packet) -> Flow | None:
        matching = [
            flow
            for flow in self.flows.values()
            if flow.table == table and all(_matches(match, packet) for match in flow.match)
        ]
        return max(matching, key=lambda flow: flow.priority, default=None)

    def _execute(self, flow: Flow, packet: Packet, outputs: list[tuple[int, Packet]]) -> int | None:
        for action in flow.actions:
            match action:
                case SetField(name, value):
                    packet[name] = value
                case Move(src, dst):
                    packet[dst] = packet[src]
                case Output(port):
                    # A switch sends a packet back to its ingress port only for IN_PORT.
                    if port == IN_PORT:
                        outputs.append((packet["in_port"], dict(packet)))
                    elif port != packet["in_port"]:
                        outputs.append((port, dict(packet)))
                case Goto(table):
                    return table
        return None


def _matches(match: Match, packet: Packet) -> bool:
    prerequisite = _PREREQUISITE.get(match.field)
    if prerequisite is not None and packet.get(prerequisite[0]) not in prerequisite[1]:
        return False
    mask = match.mask if match.mask is not None else (1 << FIELDS[match.field].bits) - 1
    return packet.get(match.field, 0) & mask == match.value & mask


def _reason(flow: Flow) -> str:
    kind = kind_of(flow.cookie)
    return (drop_reason(kind) if kind is not None else None) or "no-output"


@dataclass(frozen=True, slots=True)
class Journey:
    """The way of a packet.

    Attributes:
        delivered: (switch, port) of every copy that reached a vport.
        hops: the switches it passed.
        dropped: reasons, one for each copy that was dropped.
        punted: (switch, ingress port, cookie of the flow) of every copy that went to the controller.
    """

    delivered: tuple[tuple[str, int], ...]
    hops: tuple[str, ...]
    dropped: tuple[str, ...]
    punted: tuple[tuple[str, int, int], ...] = ()


@dataclass
class FakeFabric:
    """Switches by name, and the underlay between them: a tunnelled packet reaches the node with its tun_ipv4_dst."""

    switches: dict[str, FakeSwitch] = field(default_factory=dict)
    underlay: dict[int, str] = field(default_factory=dict)  # address -> switch

    def send(self, switch: str, port: int, packet: Mapping[str, int], *, limit: int = 8) -> Journey:
        """Send a packet from a VM at `port` of `switch`; more than `limit` hops is a loop and raises RuntimeError."""
        delivered: list[tuple[str, int]] = []
        hops: list[str] = []
        dropped: list[str] = []
        punted: list[tuple[str, int, int]] = []
        waiting: list[tuple[str, int, Packet]] = [(switch, port, dict(packet))]
        while waiting:
            here, in_port, arriving = waiting.pop(0)
            hops.append(here)
            if len(hops) > limit:
                raise RuntimeError(f"a loop: {' -> '.join(hops)}")
            verdict = self.switches[here].process(arriving, in_port)
            if verdict.dropped:
                dropped.append(verdict.dropped)
            for out, leaving in verdict.outputs:
                if out == CONTROLLER:
                    punted.append((here, in_port, verdict.path[-1].cookie))
                    continue
                if out != TUNNEL_PORT:
                    delivered.append((here, out))
                    continue
                there = self.underlay.get(leaving["tun_ipv4_dst"])
                if there is None:
                    dropped.append("underlay")
                else:
                    waiting.append((there, TUNNEL_PORT, _across(leaving)))
        return Journey(tuple(delivered), tuple(hops), tuple(dropped), tuple(punted))


def _across(packet: Packet) -> Packet:
    """The part of a packet that survives the tunnel: headers and the VNI, no metadata or registers."""
    return {name: value for name, value in packet.items() if name not in ("metadata", *_REGISTERS, "in_port")}


def ipv6_packet(src_mac: str, src: int, dst: int) -> Packet:
    """An IPv6 packet as a VM sends it to its gateway's MAC."""
    return {"eth_src": mac_number(src_mac), "eth_type": ETH_IPV6, "ipv6_src": src, "ipv6_dst": dst}


def ipv4_packet(src_mac: str, src: int, dst: int) -> Packet:
    """An IPv4 packet as a VM sends it to its gateway's MAC."""
    return {"eth_src": mac_number(src_mac), "eth_type": ETH_IPV4, "ipv4_src": src, "ipv4_dst": dst}
