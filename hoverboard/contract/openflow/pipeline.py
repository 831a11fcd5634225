"""The flows of the OpenFlow pipeline of every switch; its tables are declared in `contract.openflow.tables`.

    CLASSIFY -> ARP                      packets of a VM: anti-spoofing, then gateway replies
             -> LINK -> NEIGHBOUR        ... of IPv6: gateway replies, and packets that must stay on the link
             -> ROUTE -> DELIVER         ... then local VM, offloaded pair, route, or Hoverboard
             -> TUNNEL -> DELIVER        packets from the fabric, at a VM host
                       -> RELAY          packets from the fabric, at a Hoverboard (paper 3.3.1)

With a firewall, EGRESS stands before ROUTE, and INGRESS -> VPORT behind DELIVER. For the address of a load balancer,
BALANCE stands between ROUTE and DELIVER, and RELAY_BALANCE behind RELAY (`contract.openflow.policy`).

Only the functions below and in `contract.openflow.policy` make flows, by `tables.make_flow`. A flow may match only
fields that its table declares, and go only to tables that its table may reach; else `make_flow` raises PipelineError.
The metadata register holds the VNI from the first table on; after it, no table can mix two tenants.
Loops are impossible: gotos go forward only, and a VM host delivers packets from the fabric and never sends them out
again.

A prefix flow stands for a Route. Its priority grows with the length of its prefix, between the default's and that of
flows for one address. So the longest prefix wins. If several routes have one prefix, the caller chooses one of them.

IPv6 is parallel to IPv4 from table ROUTE on: the same flows with the other address field. Only networks with an IPv6
range, and VMs with an IPv6 address, have these flows.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, GATEWAY_MAC, link_local
from hoverboard.contract.openflow import tables
from hoverboard.contract.openflow.flow import (
    CONTROLLER,
    IN_PORT,
    Action,
    Flow,
    Goto,
    Move,
    Output,
    SetField,
)
from hoverboard.contract.openflow.tables import (
    BRIDGE,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    FIRST_VPORT,
    OPENFLOW_VERSIONS,
    PIPELINE,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_TCP,
    PROTO_UDP,
    TUNNEL_PORT,
    TUNNEL_PORT_NAME,
    Kind,
    Matches,
    PipelineError,
    Table,
    TableSpec,
    check_flow,
    cookie,
    drop_reason,
    kind_of,
    make_flow,
    vni_of,
)
from hoverboard.contract.packets import Address, mac_number

__all__ = [
    "Address",
    "BRIDGE",
    "OPENFLOW_VERSIONS",
    "ETH_ARP",
    "ETH_IPV4",
    "ETH_IPV6",
    "FIRST_VPORT",
    "Kind",
    "PIPELINE",
    "PROTO_ICMP",
    "PROTO_ICMPV6",
    "PROTO_TCP",
    "PROTO_UDP",
    "PipelineError",
    "TUNNEL_PORT",
    "TUNNEL_PORT_NAME",
    "Table",
    "TableSpec",
    "base_flows",
    "check_flow",
    "cookie",
    "default_flow",
    "drop_reason",
    "gateway_flows",
    "kind_of",
    "link_flows",
    "local_prefix_flows",
    "network_flows",
    "offload_flow",
    "punt_flow",
    "relay_flow",
    "relay_prefix_flow",
    "route_flow",
    "route_prefix_flow",
    "source_prefix_flows",
    "unknown_flow",
    "vni_of",
    "vport_flows",
]

_TAGGED = 0x1000  # OFPVID_PRESENT


def _to_address(vni: int, dst: Address) -> Matches:
    """The match of packets of a network to one address."""
    if isinstance(dst, IPv4Address):
        return {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": int(dst)}
    return {"metadata": vni, "eth_type": ETH_IPV6, "ipv6_dst": int(dst)}


_GATEWAY = mac_number(GATEWAY_MAC)
_LINK_LOCAL, _MULTICAST = IPv6Network("fe80::/10"), IPv6Network("ff00::/8")
_SOLICITATION, _ADVERTISEMENT, _ECHO6_REQUEST, _ECHO6_REPLY = 135, 136, 128, 129  # RFC 4861, RFC 4443
# Flags of an advertisement: from a router, solicited, overrides what was known (RFC 4861, 4.4).
_ADVERTISED_FLAGS = 0xE0000000
_TARGET_ADDRESS_OPTION = 2


def base_flows() -> list[Flow]:
    """Flows of every switch before it knows any network: the tunnel port and named drops.

    LINK and NEIGHBOUR need no drops: packets get there only through `link_flows`, which match all of them.
    """
    misses = {
        Table.CLASSIFY: Kind.DROP_UNKNOWN_PORT,
        Table.TUNNEL: Kind.DROP_UNKNOWN_VNI,
        Table.ARP: Kind.DROP_ARP_NOT_GATEWAY,
        Table.ROUTE: Kind.DROP_NO_ROUTE,
        Table.DELIVER: Kind.DROP_NO_SUCH_VM,
        Table.RELAY: Kind.DROP_NO_ROUTE,
    }
    flows = [make_flow(table, tables.MISS, kind, 0, {}) for table, kind in misses.items()]
    flows.append(
        make_flow(Table.CLASSIFY, tables.ROUTE, Kind.PLUMBING, 0, {"in_port": TUNNEL_PORT}, Goto(Table.TUNNEL))
    )
    return flows


def network_flows(vni: int, *, hoverboard: bool) -> list[Flow]:
    """Tunnel ingress of one network: delivered at a VM host, relayed at a Hoverboard."""
    target = Table.RELAY if hoverboard else Table.DELIVER
    return [
        make_flow(
            Table.TUNNEL, tables.EXACT, Kind.PLUMBING, vni, {"tunnel_id": vni}, SetField("metadata", vni), Goto(target)
        ),
    ]


def gateway_flows(vni: int, gateway: IPv4Address) -> list[Flow]:
    """Replies for a subnetwork's gateway at a VM host: ARP, and ICMP echo."""
    address = int(gateway)
    return [
        make_flow(
            Table.ARP, tables.EXACT, Kind.ARP_ANSWER, vni,
            {"metadata": vni, "eth_type": ETH_ARP, "arp_op": 1, "arp_tpa": address},
            Move("eth_src", "eth_dst"), SetField("eth_src", _GATEWAY), SetField("arp_op", 2),
            Move("arp_sha", "arp_tha"), Move("arp_spa", "arp_tpa"),
            SetField("arp_sha", _GATEWAY), SetField("arp_spa", address), Output(IN_PORT),
        ),
        make_flow(
            Table.ROUTE, tables.EXCEPTION, Kind.PING_ANSWER, vni,
            {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": address, "ip_proto": PROTO_ICMP, "icmpv4_type": 8},
            Move("eth_src", "eth_dst"), SetField("eth_src", _GATEWAY),
            Move("ipv4_src", "ipv4_dst"), SetField("ipv4_src", address),
            SetField("icmpv4_type", 0), Output(IN_PORT),
        ),
    ]  # fmt: skip


def link_flows(vni: int, guarded: bool = False) -> list[Flow]:
    """IPv6 of one network at a VM host: the gateway's replies, and packets that may not leave the link.

    A neighbour solicitation for the gateway becomes the advertisement in two tables. A switch writes the target's
    MAC only in a table that matches the packet as an advertisement.
    """
    ours: Matches = {"metadata": vni, "eth_type": ETH_IPV6}
    gateway = int(GATEWAY_LINK_LOCAL)
    icmp: Matches = {**ours, "ip_proto": PROTO_ICMPV6}
    solicitation: Matches = {**icmp, "icmpv6_type": _SOLICITATION, "icmpv6_code": 0}
    to_sender = (
        Move("eth_src", "eth_dst"), SetField("eth_src", _GATEWAY),
        Move("ipv6_src", "ipv6_dst"), SetField("ipv6_src", gateway),
    )  # fmt: skip
    return [
        make_flow(
            Table.LINK, tables.EXCEPTION, Kind.ND_ANSWER, vni, {**solicitation, "ipv6_nd_target": gateway},
            *to_sender, SetField("nd_reserved", _ADVERTISED_FLAGS), SetField("nd_options_type", _TARGET_ADDRESS_OPTION),
            SetField("icmpv6_type", _ADVERTISEMENT), Goto(Table.NEIGHBOUR),
        ),
        make_flow(
            Table.NEIGHBOUR, tables.EXACT, Kind.ND_ANSWER, vni,
            {**icmp, "icmpv6_type": _ADVERTISEMENT, "icmpv6_code": 0},
            SetField("ipv6_nd_tll", _GATEWAY), Output(IN_PORT),
        ),
        make_flow(
            Table.LINK, tables.EXCEPTION, Kind.PING_ANSWER, vni,
            {**icmp, "ipv6_dst": gateway, "icmpv6_type": _ECHO6_REQUEST},
            *to_sender, SetField("icmpv6_type", _ECHO6_REPLY), Output(IN_PORT),
        ),
        make_flow(Table.LINK, tables.EXACT, Kind.DROP_ND_NOT_GATEWAY, vni, solicitation),
        make_flow(Table.LINK, tables.SOURCE, Kind.DROP_MULTICAST, vni, {**ours, "ipv6_dst": _MULTICAST}),
        # No router forwards packets from or to a link-local address (RFC 4291, 2.5.6).
        make_flow(Table.LINK, tables.PAIR, Kind.DROP_LINK_LOCAL, vni, {**ours, "ipv6_dst": _LINK_LOCAL}),
        make_flow(Table.LINK, tables.PAIR, Kind.DROP_LINK_LOCAL, vni, {**ours, "ipv6_src": _LINK_LOCAL}),
        make_flow(Table.LINK, tables.DEFAULT, Kind.PLUMBING, vni, ours, _onward(guarded)),
    ]  # fmt: skip


def _onward(guarded: bool) -> Goto:
    """The next step for packets that a VM may send."""
    return Goto(Table.EGRESS if guarded else Table.ROUTE)


def _deliver_action(port: int, guarded: bool) -> Action:
    """The last step to a VM, once the packet has the VM's MAC."""
    return Goto(Table.INGRESS) if guarded else Output(port)


def vport_flows(
    vni: int, port: int, ip: IPv4Address, mac: str, ip6: IPv6Address | None = None, guarded: bool = False
) -> list[Flow]:
    """A VM on this host: the addresses it may send from (RFC 2827 at the vport), and delivery to it.

    `port` is the OpenFlow number of its vport. Without `ip6`, the VM may not send IPv6. `guarded` says that its network
    has a firewall: its packets then pass the firewall's tables.
    """
    source, address = mac_number(mac), int(ip)
    tagged: Matches = {"in_port": port, "vlan_vid": (_TAGGED, _TAGGED)}
    if ip6 is None:
        own6 = [make_flow(Table.CLASSIFY, tables.PAIR, Kind.DROP_NO_IPV6, vni, {"in_port": port, "eth_type": ETH_IPV6})]
    else:
        own6 = [
            make_flow(
                Table.CLASSIFY, tables.EXACT, Kind.VPORT, vni,
                {"in_port": port, "eth_src": source, "eth_type": ETH_IPV6, "ipv6_src": int(sender)},
                SetField("metadata", vni), Goto(Table.LINK),
            )
            for sender in (ip6, link_local(mac))
        ]  # fmt: skip
        # From "::", a NIC without an address asks whether its address is in use, and for routers.
        multicast: Matches = {"in_port": port, "eth_type": ETH_IPV6, "ipv6_dst": _MULTICAST}
        own6 += [
            make_flow(Table.CLASSIFY, tables.PAIR, Kind.DROP_MULTICAST, vni, multicast),
            *_local_flows(vni, port, source, ip6, guarded),
        ]
    return [
        make_flow(
            Table.CLASSIFY, tables.EXACT, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_IPV4, "ipv4_src": address},
            SetField("metadata", vni), _onward(guarded),
        ),
        make_flow(
            Table.CLASSIFY, tables.EXACT, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_ARP, "arp_spa": address, "arp_sha": source},
            SetField("metadata", vni), Goto(Table.ARP),
        ),
        make_flow(Table.CLASSIFY, tables.EXCEPTION, Kind.DROP_VLAN, vni, tagged),
        make_flow(Table.CLASSIFY, tables.ROUTE, Kind.DROP_SPOOFED, vni, {"in_port": port}),
        *_local_flows(vni, port, source, ip, guarded),
        *own6,
        *([_vport_delivery(vni, port, source)] if guarded else ()),
    ]  # fmt: skip


def _vport_delivery(vni: int, port: int, mac: int) -> Flow:
    """Delivery to a VM, by its MAC, of packets that the firewall has allowed."""
    return make_flow(Table.VPORT, tables.EXACT, Kind.LOCAL, vni, {"metadata": vni, "eth_dst": mac}, Output(port))


def _local_flows(vni: int, port: int, mac: int, dst: Address, guarded: bool) -> list[Flow]:
    """Delivery of one address to a VM on this host."""
    return [
        make_flow(Table.ROUTE, tables.EXACT, Kind.LOCAL, vni, _to_address(vni, dst), Goto(Table.DELIVER)),
        make_flow(
            Table.DELIVER, tables.EXACT, Kind.LOCAL, vni, _to_address(vni, dst),
            SetField("eth_dst", mac), SetField("eth_src", _GATEWAY), _deliver_action(port, guarded),
        ),
    ]  # fmt: skip


def _to_host(vni: int, version: int, underlay: IPv4Address, port: int) -> tuple[Action, ...]:
    # The only use of the register: reading the destination into it keeps the destination exact in the megaflow, so
    # that usage is counted by VM pair even under a default route.
    return (
        Move("ipv4_dst", "reg5") if version == 4 else Move("ipv6_dst", "xxreg1"),
        SetField("tunnel_id", vni),
        SetField("tun_ipv4_dst", int(underlay)),
        Output(port),
    )


def route_flow(vni: int, dst: Address, underlay: IPv4Address) -> Flow:
    """VM host: traffic of the network to VM address `dst` goes to the host at `underlay` on the direct path."""
    actions = _to_host(vni, dst.version, underlay, TUNNEL_PORT)
    return make_flow(Table.ROUTE, tables.ROUTE, Kind.ROUTE, vni, _to_address(vni, dst), *actions)


def offload_flow(vni: int, src: Address, dst: Address, underlay: IPv4Address) -> Flow:
    """VM host: a busy VM pair leaves the Hoverboard and takes the direct path (paper 3.3.1)."""
    match = _to_address(vni, dst)
    match["ipv4_src" if src.version == 4 else "ipv6_src"] = int(src)
    return make_flow(
        Table.ROUTE, tables.PAIR, Kind.OFFLOAD, vni, match, *_to_host(vni, dst.version, underlay, TUNNEL_PORT)
    )


def default_flow(vni: int, hoverboard: IPv4Address, version: int = 4, learn: bool = False) -> Flow:
    """VM host: packets of IP `version` that no other flow of the network matches go to a Hoverboard.

    `learn`: the host may ask that Hoverboard for a direct route (Kind.LEARN).
    """
    actions = _to_host(vni, version, hoverboard, TUNNEL_PORT)
    kind = Kind.LEARN if learn else Kind.TO_HOVERBOARD
    return make_flow(Table.ROUTE, tables.DEFAULT, kind, vni, _any_address(vni, version), *actions)


def punt_flow(vni: int, version: int = 4) -> Flow:
    """VM host: packets of IP `version` that no other flow matches go to the controller, which answers with flows."""
    # The metadata register is part of the packet-in: the controller finds the network in it.
    return make_flow(Table.ROUTE, tables.DEFAULT, Kind.PUNT, vni, _any_address(vni, version), Output(CONTROLLER))


def unknown_flow(vni: int, dst: Address) -> Flow:
    """VM host: a negative answer as a flow; the controller was asked for `dst` and knows no such address."""
    return make_flow(Table.ROUTE, tables.ROUTE, Kind.DROP_UNKNOWN_DESTINATION, vni, _to_address(vni, dst))


def _any_address(vni: int, version: int) -> Matches:
    return {"metadata": vni, "eth_type": {4: ETH_IPV4, 6: ETH_IPV6}[version]}


def relay_flow(vni: int, dst: Address, underlay: IPv4Address) -> Flow:
    """Hoverboard: traffic of the network to VM address `dst` goes on to its host (a hairpin)."""
    actions = _to_host(vni, dst.version, underlay, IN_PORT)
    return make_flow(Table.RELAY, tables.EXACT, Kind.RELAY, vni, _to_address(vni, dst), *actions)


def source_prefix_flows(vni: int, port: int, mac: str, prefix: IPv4Network, guarded: bool = False) -> list[Flow]:
    """A next hop on this host: it may also send, and ask for its gateway, from an address in `prefix`.

    An operating system that answers from an address behind it asks ARP with that address, too.
    """
    source = mac_number(mac)
    return [
        make_flow(
            Table.CLASSIFY, tables.SOURCE, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_IPV4, "ipv4_src": prefix},
            Move("ipv4_src", "reg5"),  # keeps the source exact in the megaflow, as in _to_host
            SetField("metadata", vni), _onward(guarded),
        ),
        make_flow(
            Table.CLASSIFY, tables.SOURCE, Kind.VPORT, vni,
            {"in_port": port, "eth_src": source, "eth_type": ETH_ARP, "arp_spa": prefix, "arp_sha": source},
            SetField("metadata", vni), Goto(Table.ARP),
        ),
    ]  # fmt: skip


def local_prefix_flows(vni: int, prefix: IPv4Network, port: int | None, mac: str, guarded: bool = False) -> list[Flow]:
    """The next hop's host: `prefix` is delivered to the next hop, or dropped while the next hop has no vport.

    The drop is a flow of its prefix, not the table's miss, so that a shorter prefix does not match instead.
    """
    match: Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": prefix}
    rank = tables.PREFIX + prefix.prefixlen
    local = make_flow(Table.ROUTE, rank, Kind.LOCAL, vni, match, Goto(Table.DELIVER))
    if port is None:
        return [local, make_flow(Table.DELIVER, rank, Kind.DROP_NO_SUCH_VM, vni, match)]
    return [
        local,
        make_flow(
            Table.DELIVER, rank, Kind.LOCAL, vni, match,
            Move("ipv4_dst", "reg5"), SetField("eth_dst", mac_number(mac)), SetField("eth_src", _GATEWAY),
            _deliver_action(port, guarded),
        ),
    ]  # fmt: skip


def route_prefix_flow(vni: int, prefix: IPv4Network, underlay: IPv4Address) -> Flow:
    """VM host: traffic of the network to `prefix` goes to the next hop's host at `underlay` on the direct path."""
    match: Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": prefix}
    rank = tables.PREFIX + prefix.prefixlen
    return make_flow(Table.ROUTE, rank, Kind.ROUTE, vni, match, *_to_host(vni, 4, underlay, TUNNEL_PORT))


def relay_prefix_flow(vni: int, prefix: IPv4Network, underlay: IPv4Address) -> Flow:
    """Hoverboard: traffic of the network to `prefix` goes on to the next hop's host (a hairpin)."""
    match: Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": prefix}
    rank = tables.PREFIX + prefix.prefixlen
    return make_flow(Table.RELAY, rank, Kind.RELAY, vni, match, *_to_host(vni, 4, underlay, IN_PORT))
