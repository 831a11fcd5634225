"""The OpenFlow pipeline of every switch, declared once, as data, and checked at import.

    CLASSIFY -> ARP                      what a VM sends: anti-spoof, then gateway answers
             -> ROUTE -> DELIVER         ... then local VM, offloaded pair, route, or Hoverboard
             -> TUNNEL -> DELIVER        what the fabric brings to a VM host
                       -> RELAY          what the fabric brings to a Hoverboard (paper 3.3.1)

Only the functions below make flows, so that a flow which matches a field its table does not
declare, or jumps to a table its table may not reach, raises here and never meets a switch. The
metadata register holds the VNI from the first table on: after it, no table can mix two tenants.
Loops are impossible by shape: gotos go forward only, and what comes out of the fabric on a VM host
can only be delivered, never sent out again.

A prefix flow stands for a Route: it ranks by the length of its prefix, below every flow for one
address and above the default, so that tables find the longest prefix; which of several routes of one
prefix wins is decided before, and only that one is here.

Cookies: bits 63-48 kind (`Kind`), bits 47-24 VNI, bits 23-0 free; `status` and the fast path name
drops by kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network

from hoverboard.contract.encapsulation import GATEWAY_MAC
from hoverboard.contract.flow import (
    FIELDS,
    IN_PORT,
    Action,
    Flow,
    Goto,
    Match,
    Move,
    Output,
    SetField,
    WriteMetadata,
)

_TAGGED = 0x1000  # OFPVID_PRESENT
ETH_IPV4, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
PROTO_ICMP = 1

BRIDGE = "br-int"  # the integration bridge of every switch
TUNNEL_PORT_NAME = "gnv"  # its one Geneve port, remote_ip=flow, key=flow
TUNNEL_PORT = 1  # ... and that port's OpenFlow number
FIRST_VPORT = 100  # vports are numbered from here by the host agent


class Table(IntEnum):
    """The tables, in the order packets meet them."""

    CLASSIFY = 0
    TUNNEL = 10
    ARP = 20
    ROUTE = 30
    DELIVER = 40
    RELAY = 50


class Kind(IntEnum):
    """What a flow is for; the top 16 bits of its cookie."""

    PLUMBING = 0x0001
    VPORT = 0x0002
    ARP_ANSWER = 0x0003
    PING_ANSWER = 0x0004
    LOCAL = 0x0005
    ROUTE = 0x0006
    OFFLOAD = 0x0007
    TO_HOVERBOARD = 0x0008
    RELAY = 0x0009
    # Drops, 0x01xx: the name, lowercased with dashes, is the reason people read.
    DROP_UNKNOWN_PORT = 0x0101
    DROP_SPOOFED = 0x0102
    DROP_NOT_IPV4 = 0x0103
    DROP_UNKNOWN_VNI = 0x0104
    DROP_ARP_NOT_GATEWAY = 0x0105
    DROP_NO_ROUTE = 0x0106
    DROP_NO_SUCH_VM = 0x0107
    DROP_VLAN = 0x0108


def drop_reason(kind: Kind) -> str | None:
    """ "unknown-vni" for DROP_UNKNOWN_VNI, and so on; None for a kind that does not drop."""
    if kind < 0x0100:
        return None
    return kind.name.removeprefix("DROP_").lower().replace("_", "-")


def cookie(kind: Kind, vni: int = 0) -> int:
    """The cookie of a flow."""
    return int(kind) << 48 | vni << 24


def kind_of(value: int) -> Kind | None:
    """The kind in a cookie, or None for a cookie that is not ours."""
    try:
        return Kind(value >> 48)
    except ValueError:
        return None


def vni_of(value: int) -> int:
    """The VNI in a cookie (0: belongs to no network)."""
    return value >> 24 & 0xFFFFFF


@dataclass(frozen=True)
class TableSpec:
    """What a table may match on and where it may go next."""

    matches: frozenset[str]
    gotos: frozenset[Table]


PIPELINE: dict[Table, TableSpec] = {
    Table.CLASSIFY: TableSpec(
        frozenset({"in_port", "vlan_vid", "eth_src", "eth_type", "ipv4_src", "arp_spa", "arp_sha"}),
        frozenset({Table.TUNNEL, Table.ARP, Table.ROUTE}),
    ),
    Table.TUNNEL: TableSpec(frozenset({"tunnel_id"}), frozenset({Table.DELIVER, Table.RELAY})),
    Table.ARP: TableSpec(frozenset({"metadata", "eth_type", "arp_op", "arp_tpa"}), frozenset()),
    Table.ROUTE: TableSpec(
        frozenset({"metadata", "eth_type", "ipv4_src", "ipv4_dst", "ip_proto", "icmpv4_type"}),
        frozenset({Table.DELIVER}),
    ),
    Table.DELIVER: TableSpec(frozenset({"metadata", "eth_type", "ipv4_dst"}), frozenset()),
    Table.RELAY: TableSpec(frozenset({"metadata", "eth_type", "ipv4_dst"}), frozenset()),
}

# Priorities, by name; within a table the higher wins. A prefix of n bits has _PREFIX + n: 20 to 52.
_EXCEPTION, _EXACT, _SOURCE, _PAIR, _ROUTE, _PREFIX, _DEFAULT, _MISS = 400, 300, 250, 200, 100, 20, 10, 0


class PipelineError(ValueError):
    """A flow or the declaration of the pipeline breaks the pipeline's own rules."""


def check_flow(flow: Flow) -> Flow:
    """Return `flow` if it is legal in PIPELINE; raise PipelineError otherwise."""
    spec = PIPELINE[Table(flow.table)]
    for match in flow.match:
        if match.field not in spec.matches:
            raise PipelineError(f"table {Table(flow.table).name} does not match on {match.field}")
        if match.value >> FIELDS[match.field].bits:
            raise PipelineError(f"{match.field}={match.value:#x} does not fit {FIELDS[match.field].bits} bits")
        if match.mask is not None:
            # A switch gives every mask back in one form; only in that form do sent and read flows compare.
            whole = (1 << FIELDS[match.field].bits) - 1
            if not 0 < match.mask < whole:
                raise PipelineError(f"{match.field} with mask {match.mask:#x}: leave out the mask, or the field")
            if match.value & ~match.mask:
                raise PipelineError(f"{match.field}={match.value:#x} has bits outside its mask {match.mask:#x}")
    for action in flow.actions:
        if isinstance(action, Goto) and action.table not in spec.gotos:
            raise PipelineError(f"table {Table(flow.table).name} may not go to table {action.table}")
        if isinstance(action, SetField) and action.value >> FIELDS[action.field].bits:
            raise PipelineError(f"{action.field}={action.value:#x} does not fit {FIELDS[action.field].bits} bits")
        if isinstance(action, Move) and FIELDS[action.src].bits != FIELDS[action.dst].bits:
            raise PipelineError(f"move {action.src} -> {action.dst}: widths differ")
    return flow


def _check_pipeline() -> None:
    for table, spec in PIPELINE.items():
        unknown = spec.matches - FIELDS.keys()
        if unknown:
            raise PipelineError(f"table {table.name} declares unknown fields {sorted(unknown)}")
        for goto in spec.gotos:
            if goto <= table or goto not in PIPELINE:
                raise PipelineError(f"table {table.name} declares a goto that is not forward: {goto}")
    reached = {Table.CLASSIFY}.union(*(spec.gotos for spec in PIPELINE.values()))
    if reached != set(Table) or set(PIPELINE) != set(Table):
        raise PipelineError(f"tables that nothing reaches or declares: {set(Table) ^ reached}")


_Masked = tuple[int, int]  # value, mask
_Matches = dict[str, int | IPv4Network | _Masked]  # a prefix, or a mask, matches a part of the field


def _flow(table: Table, priority: int, kind: Kind, vni: int, match: _Matches, *actions: Action) -> Flow:
    fields = [_match(name, match[name]) for name in sorted(match)]
    exact_or_part = tuple([one for one in fields if one.mask != 0])
    return check_flow(Flow(int(table), priority, exact_or_part, actions, cookie(kind, vni)))


def _match(name: str, value: int | IPv4Network | _Masked) -> Match:
    """Of a prefix, exact for one address; a prefix of every address has mask 0 and is no match at all."""
    if isinstance(value, int):
        return Match(name, value)
    if isinstance(value, tuple):
        return Match(name, *value)
    mask = None if value.prefixlen == value.max_prefixlen else int(value.netmask)
    return Match(name, int(value.network_address), mask)


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


_GATEWAY = _mac(GATEWAY_MAC)


def base_flows() -> list[Flow]:
    """What every switch has before it knows any network: the tunnel port and named drops."""
    misses = {
        Table.CLASSIFY: Kind.DROP_UNKNOWN_PORT,
        Table.TUNNEL: Kind.DROP_UNKNOWN_VNI,
        Table.ARP: Kind.DROP_ARP_NOT_GATEWAY,
        Table.ROUTE: Kind.DROP_NO_ROUTE,
        Table.DELIVER: Kind.DROP_NO_SUCH_VM,
        Table.RELAY: Kind.DROP_NO_ROUTE,
    }
    flows = [_flow(table, _MISS, kind, 0, {}) for table, kind in misses.items()]
    flows.append(_flow(Table.CLASSIFY, _ROUTE, Kind.PLUMBING, 0, {"in_port": TUNNEL_PORT}, Goto(Table.TUNNEL)))
    return flows


def network_flows(vni: int, *, hoverboard: bool) -> list[Flow]:
    """Tunnel ingress of one network: delivered on a VM host, relayed on a Hoverboard."""
    target = Table.RELAY if hoverboard else Table.DELIVER
    return [
        _flow(Table.TUNNEL, _EXACT, Kind.PLUMBING, vni, {"tunnel_id": vni}, WriteMetadata(vni), Goto(target)),
    ]


def gateway_flows(vni: int, gateway: IPv4Address) -> list[Flow]:
    """Answers for a subnetwork's gateway on a VM host: ARP for it, and ICMP echo to it."""
    address = int(gateway)
    return [
        _flow(
            Table.ARP, _EXACT, Kind.ARP_ANSWER, vni,
            {"metadata": vni, "eth_type": ETH_ARP, "arp_op": 1, "arp_tpa": address},
            Move("eth_src", "eth_dst"), SetField("eth_src", _GATEWAY), SetField("arp_op", 2),
            Move("arp_sha", "arp_tha"), Move("arp_spa", "arp_tpa"),
            SetField("arp_sha", _GATEWAY), SetField("arp_spa", address), Output(IN_PORT),
        ),
        _flow(
            Table.ROUTE, _EXCEPTION, Kind.PING_ANSWER, vni,
            {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": address, "ip_proto": PROTO_ICMP, "icmpv4_type": 8},
            Move("eth_src", "eth_dst"), SetField("eth_src", _GATEWAY),
            Move("ipv4_src", "ipv4_dst"), SetField("ipv4_src", address),
            SetField("icmpv4_type", 0), Output(IN_PORT),
        ),
    ]  # fmt: skip


def vport_flows(vni: int, port: int, ip: IPv4Address, mac: str) -> list[Flow]:
    """A VM on this host: what it may send as (RFC 2827 at the vport), and delivery to it."""
    source, address = _mac(mac), int(ip)
    return [
        _flow(
            Table.CLASSIFY, _EXACT, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_IPV4, "ipv4_src": address},
            WriteMetadata(vni), Goto(Table.ROUTE),
        ),
        _flow(
            Table.CLASSIFY, _EXACT, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_ARP, "arp_spa": address, "arp_sha": source},
            WriteMetadata(vni), Goto(Table.ARP),
        ),
        _flow(Table.CLASSIFY, _EXCEPTION, Kind.DROP_VLAN, vni, {"in_port": port, "vlan_vid": (_TAGGED, _TAGGED)}),
        _flow(Table.CLASSIFY, _PAIR, Kind.DROP_NOT_IPV4, vni, {"in_port": port, "eth_type": ETH_IPV6}),
        _flow(Table.CLASSIFY, _ROUTE, Kind.DROP_SPOOFED, vni, {"in_port": port}),
        _flow(
            Table.ROUTE, _EXACT, Kind.LOCAL, vni,
            {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": address}, Goto(Table.DELIVER),
        ),
        _flow(
            Table.DELIVER, _EXACT, Kind.LOCAL, vni,
            {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": address},
            SetField("eth_dst", source), SetField("eth_src", _GATEWAY), Output(port),
        ),
    ]  # fmt: skip


def _to_host(vni: int, underlay: IPv4Address, port: int) -> tuple[Action, ...]:
    # reg5 <- ipv4_dst has one purpose: reading the destination keeps it exact in the megaflow, so
    # that usage can be counted by VM pair even under a default route.
    return (
        Move("ipv4_dst", "reg5"),
        SetField("tunnel_id", vni),
        SetField("tun_ipv4_dst", int(underlay)),
        Output(port),
    )


def route_flow(vni: int, dst: IPv4Address, underlay: IPv4Address) -> Flow:
    """VM host: traffic of the network to VM address `dst` goes straight to the host at `underlay`."""
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": int(dst)}
    return _flow(Table.ROUTE, _ROUTE, Kind.ROUTE, vni, match, *_to_host(vni, underlay, TUNNEL_PORT))


def offload_flow(vni: int, src: IPv4Address, dst: IPv4Address, underlay: IPv4Address) -> Flow:
    """VM host: one busy VM pair leaves the Hoverboard and goes host to host (paper 3.3.1)."""
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_src": int(src), "ipv4_dst": int(dst)}
    return _flow(Table.ROUTE, _PAIR, Kind.OFFLOAD, vni, match, *_to_host(vni, underlay, TUNNEL_PORT))


def default_flow(vni: int, hoverboard: IPv4Address) -> Flow:
    """VM host: what no other rule of the network covers goes to a Hoverboard."""
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4}
    return _flow(Table.ROUTE, _DEFAULT, Kind.TO_HOVERBOARD, vni, match, *_to_host(vni, hoverboard, TUNNEL_PORT))


def relay_flow(vni: int, dst: IPv4Address, underlay: IPv4Address) -> Flow:
    """Hoverboard: traffic of the network to VM address `dst` goes on to its host (a hairpin)."""
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": int(dst)}
    return _flow(Table.RELAY, _EXACT, Kind.RELAY, vni, match, *_to_host(vni, underlay, IN_PORT))


def source_prefix_flows(vni: int, port: int, mac: str, prefix: IPv4Network) -> list[Flow]:
    """A next hop on this host: it may also send, and ask for its gateway, as an address in `prefix`.

    An operating system that answers from an address behind it asks ARP with that address, too.
    """
    source = _mac(mac)
    return [
        _flow(
            Table.CLASSIFY, _SOURCE, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_IPV4, "ipv4_src": prefix},
            Move("ipv4_src", "reg5"),  # keeps the source exact in the megaflow, as in _to_host
            WriteMetadata(vni), Goto(Table.ROUTE),
        ),
        _flow(
            Table.CLASSIFY, _SOURCE, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_ARP, "arp_spa": prefix, "arp_sha": source},
            WriteMetadata(vni), Goto(Table.ARP),
        ),
    ]  # fmt: skip


def local_prefix_flows(vni: int, prefix: IPv4Network, port: int | None, mac: str) -> list[Flow]:
    """The next hop's host: `prefix` is delivered to the next hop, or dropped while that has no vport.

    The drop is a flow, not the table's miss: a shorter prefix beside it must not step in.
    """
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": prefix}
    rank = _PREFIX + prefix.prefixlen
    local = _flow(Table.ROUTE, rank, Kind.LOCAL, vni, match, Goto(Table.DELIVER))
    if port is None:
        return [local, _flow(Table.DELIVER, rank, Kind.DROP_NO_SUCH_VM, vni, match)]
    return [
        local,
        _flow(
            Table.DELIVER, rank, Kind.LOCAL, vni, match,
            Move("ipv4_dst", "reg5"), SetField("eth_dst", _mac(mac)), SetField("eth_src", _GATEWAY), Output(port),
        ),
    ]  # fmt: skip


def route_prefix_flow(vni: int, prefix: IPv4Network, underlay: IPv4Address) -> Flow:
    """VM host: traffic of the network to `prefix` goes straight to the next hop's host at `underlay`."""
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": prefix}
    rank = _PREFIX + prefix.prefixlen
    return _flow(Table.ROUTE, rank, Kind.ROUTE, vni, match, *_to_host(vni, underlay, TUNNEL_PORT))


def relay_prefix_flow(vni: int, prefix: IPv4Network, underlay: IPv4Address) -> Flow:
    """Hoverboard: traffic of the network to `prefix` goes on to the next hop's host (a hairpin)."""
    match: _Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": prefix}
    rank = _PREFIX + prefix.prefixlen
    return _flow(Table.RELAY, rank, Kind.RELAY, vni, match, *_to_host(vni, underlay, IN_PORT))


_check_pipeline()
base_flows()
