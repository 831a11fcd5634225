"""The tables of the OpenFlow pipeline, declared once, as data: the fields each matches and the tables it may go to.

`pipeline` makes the flows with `make_flow`, which rejects illegal ones; the declaration itself is checked at import.
A cookie has kind (bits 63-48, `Kind`), VNI (47-24), the number of a firewall rule (23-1, 0: none) and share (0,
`shares`). `status` and the fast path name drops by kind; `flow_names` says all of it in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network

from hoverboard.contract.openflow.flow import FIELDS, Action, Flow, Goto, Match, Move, SetField

ETH_IPV4, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6 = 1, 6, 17, 58

BRIDGE = "br-int"  # the integration bridge of every switch
# Of each bridge. Our own controller asks for 1.4; the others are for tools in the node, and for users' controllers.
OPENFLOW_VERSIONS = "OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15"
TUNNEL_PORT_NAME = "gnv"  # its one Geneve port, remote_ip=flow, key=flow
TUNNEL_PORT = 1  # ... and the OpenFlow number of that port
FIRST_VPORT = 100  # the host agent numbers vports from here


class Table(IntEnum):
    """The tables, in the order in which packets reach them."""

    CLASSIFY = 0
    TUNNEL = 10
    ARP = 20
    LINK = 22
    NEIGHBOUR = 24
    EGRESS = 26
    ROUTE = 30
    BALANCE = 34
    DELIVER = 40
    INGRESS = 42
    VPORT = 44
    RELAY = 50
    RELAY_BALANCE = 54


class Kind(IntEnum):
    """The purpose of a flow: the top 16 bits of its cookie."""

    PLUMBING = 0x0001
    VPORT = 0x0002
    ARP_ANSWER = 0x0003
    PING_ANSWER = 0x0004
    LOCAL = 0x0005
    ROUTE = 0x0006
    OFFLOAD = 0x0007
    TO_HOVERBOARD = 0x0008
    RELAY = 0x0009
    ND_ANSWER = 0x000A
    PUNT = 0x000B  # to the controller, which answers with flows (programming model "on-demand")
    LEARN = 0x000C  # to a Hoverboard, which the host may ask for a direct route (model "active-learning")
    LEARNED = 0x000D  # the direct route; installed by the host itself, not by a controller
    FIREWALL = 0x000E
    BALANCE = 0x000F
    # Drops, 0x01xx: the name, in lower case with dashes, is the reason shown to users.
    DROP_UNKNOWN_PORT = 0x0101
    DROP_SPOOFED = 0x0102
    DROP_NO_IPV6 = 0x0103  # from a VM that has no IPv6 address
    DROP_UNKNOWN_VNI = 0x0104
    DROP_ARP_NOT_GATEWAY = 0x0105
    DROP_NO_ROUTE = 0x0106
    DROP_NO_SUCH_VM = 0x0107
    DROP_VLAN = 0x0108
    DROP_MULTICAST = 0x0109
    DROP_LINK_LOCAL = 0x010A
    DROP_ND_NOT_GATEWAY = 0x010B
    DROP_UNKNOWN_DESTINATION = 0x010C  # the controller found no such address; removed after a while
    DROP_FIREWALL_EGRESS = 0x010D
    DROP_FIREWALL_INGRESS = 0x010E


def drop_reason(kind: Kind) -> str | None:
    """The drop reason: "unknown-vni" for DROP_UNKNOWN_VNI, and so on; None for a kind that does not drop."""
    _, _, reason = kind.name.partition("DROP_")
    return reason.lower().replace("_", "-") or None


MAX_RULE_NUMBER = (1 << 23) - 1


def cookie(kind: Kind, vni: int = 0, rule: int = 0) -> int:
    """The cookie of a flow; `rule` is the number of the firewall rule that it is made from (0: none)."""
    return int(kind) << 48 | vni << 24 | rule << 1


def kind_of(value: int) -> Kind | None:
    """The kind in a cookie; None for a cookie that is not ours."""
    try:
        return Kind(value >> 48)
    except ValueError:
        return None


def vni_of(value: int) -> int:
    """The VNI in a cookie (0: the flow belongs to no network)."""
    return value >> 24 & 0xFFFFFF


def rule_of(value: int) -> int:
    """The number of the firewall rule in a cookie (0: the flow is made from no rule)."""
    return value >> 1 & MAX_RULE_NUMBER


@dataclass(frozen=True)
class TableSpec:
    """The fields that a table may match, and the tables that it may go to."""

    matches: frozenset[str]
    gotos: frozenset[Table]


_TRANSPORT = frozenset({"ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "icmpv4_type", "icmpv6_type"})
_IP = frozenset({"metadata", "eth_type", "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst"})

PIPELINE: dict[Table, TableSpec] = {
    Table.CLASSIFY: TableSpec(
        frozenset(
            {"in_port", "vlan_vid", "eth_src", "eth_type", "ipv4_src", "arp_spa", "arp_sha", "ipv6_src", "ipv6_dst"}
        ),
        frozenset({Table.TUNNEL, Table.ARP, Table.LINK, Table.EGRESS, Table.ROUTE}),
    ),
    Table.TUNNEL: TableSpec(frozenset({"tunnel_id"}), frozenset({Table.DELIVER, Table.RELAY})),
    Table.ARP: TableSpec(frozenset({"metadata", "eth_type", "arp_op", "arp_tpa"}), frozenset()),
    Table.LINK: TableSpec(
        frozenset(
            {"metadata", "eth_type", "ipv6_src", "ipv6_dst", "ip_proto", "icmpv6_type", "icmpv6_code", "ipv6_nd_target"}
        ),
        frozenset({Table.NEIGHBOUR, Table.EGRESS, Table.ROUTE}),
    ),
    Table.NEIGHBOUR: TableSpec(
        frozenset({"metadata", "eth_type", "ip_proto", "icmpv6_type", "icmpv6_code"}), frozenset()
    ),
    Table.EGRESS: TableSpec(_IP | _TRANSPORT | {"eth_src"}, frozenset({Table.ROUTE})),
    Table.ROUTE: TableSpec(_IP | _TRANSPORT, frozenset({Table.BALANCE, Table.DELIVER})),
    Table.BALANCE: TableSpec(_IP | _TRANSPORT, frozenset({Table.DELIVER})),
    Table.DELIVER: TableSpec(_IP | _TRANSPORT, frozenset({Table.INGRESS})),
    Table.INGRESS: TableSpec(_IP | _TRANSPORT | {"eth_dst"}, frozenset({Table.VPORT})),
    Table.VPORT: TableSpec(frozenset({"metadata", "eth_dst"}), frozenset()),
    Table.RELAY: TableSpec(_IP | _TRANSPORT, frozenset({Table.RELAY_BALANCE})),
    Table.RELAY_BALANCE: TableSpec(_IP | _TRANSPORT, frozenset()),
}

# Priorities, by name; within a table the highest wins. A prefix of n bits has PREFIX + n: 20 to 52.
EXCEPTION, EXACT, SOURCE, PAIR, ROUTE, LEARNED, PREFIX, DEFAULT, MISS = 400, 300, 250, 200, 100, 90, 20, 10, 0


class PipelineError(ValueError):
    """A flow, or the declaration of the pipeline, breaks the pipeline's own rules."""


def check_flow(flow: Flow) -> Flow:
    """Return `flow` if it is legal in PIPELINE; raise PipelineError if not."""
    spec = PIPELINE[Table(flow.table)]
    for match in flow.match:
        if match.field not in spec.matches:
            raise PipelineError(f"table {Table(flow.table).name} does not match on {match.field}")
        if match.value >> FIELDS[match.field].bits:
            raise PipelineError(f"{match.field}={match.value:#x} does not fit {FIELDS[match.field].bits} bits")
        if match.mask is not None:
            # A switch returns every mask in one form; sent and read flows compare only in that form.
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
    if reached != set(Table):
        raise PipelineError(f"tables that nothing reaches or declares: {set(Table) ^ reached}")


_Masked = tuple[int, int]  # value, mask
_Prefix = IPv4Network | IPv6Network
Matches = dict[str, int | _Prefix | _Masked]  # a prefix or a mask matches a part of the field


def make_flow(
    table: Table, priority: int, kind: Kind, vni: int, match: Matches, *actions: Action, rule: int = 0
) -> Flow:
    """Make a legal flow; PipelineError if it is not legal. `rule`: see `cookie`."""
    fields = [_match(name, match[name]) for name in sorted(match)]
    exact_or_part = tuple([one for one in fields if one.mask != 0])
    return check_flow(Flow(int(table), priority, exact_or_part, actions, cookie(kind, vni, rule)))


def _match(name: str, value: int | _Prefix | _Masked) -> Match:
    """The match of a value. A prefix of one address is exact; a prefix of all addresses has mask 0."""
    if isinstance(value, int):
        return Match(name, value)
    if isinstance(value, tuple):
        return Match(name, *value)
    mask = None if value.prefixlen == value.max_prefixlen else int(value.netmask)
    return Match(name, int(value.network_address), mask)


_check_pipeline()
