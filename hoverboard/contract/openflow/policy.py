"""Flows of a network's policy: its firewall, and addresses that several of its VMs share (paper 3.1, 4.3.1).

Stateless: the headers of a packet decide alone. So the answer of `ofproto/trace` for one packet holds for every packet
of the same 5-tuple, and the fast path can keep it. Only a network with a firewall or a load balancer has these flows.

An answer is a TCP or UDP packet from a service's port to a client's, or an ICMP message that only answers or reports.
Ports below 32768 are services' ports. The others are clients' ports: Linux takes them for connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from hoverboard.contract.encapsulation import GATEWAY_MAC
from hoverboard.contract.entities import MAX_RULE_PRIORITY, FirewallAction, PortRange
from hoverboard.contract.openflow import tables
from hoverboard.contract.openflow.flow import IN_PORT, Action, Flow, Goto, Move, Output, SetField
from hoverboard.contract.openflow.flow_names import rule_number
from hoverboard.contract.openflow.tables import (
    ETH_IPV4,
    ETH_IPV6,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_TCP,
    PROTO_UDP,
    TUNNEL_PORT,
    Kind,
    Matches,
    Table,
    make_flow,
)
from hoverboard.contract.packets import mac_number

CLIENT_PORTS = (0x8000, 0x8000)  # value and mask: 32768 to 65535
SERVICE_PORTS = (0, 0x8000)
_ANSWERS4 = (0, 3, 11, 12)  # echo reply, unreachable, time exceeded, bad parameter (RFC 792)
_ANSWERS6 = (1, 2, 3, 4, 129)  # the same, and packet too big (RFC 4443)
_PROTOCOLS = {"tcp": PROTO_TCP, "udp": PROTO_UDP}

# Priorities in the firewall's tables. Each rule priority has two, so that deny wins over allow at equal priority.
_GATEWAY, _ANSWERS, _POLICY = 65_000, 20, tables.DEFAULT
_LEAST_RULE = 100

# A load balancer's buckets: bits of the source port (not the lowest bit, which Linux keeps even for connections) and
# of the source address; without ports, bits of the address alone.
PORT_BITS, ADDRESS_BITS, ADDRESS_ONLY_BITS = 4, 2, 4
BUCKETS = 1 << PORT_BITS + ADDRESS_BITS
ADDRESS_ONLY_BUCKETS = 1 << ADDRESS_ONLY_BITS

Prefix = IPv4Network | IPv6Network


def port_masks(ports: Sequence[PortRange]) -> list[int | tuple[int, int] | None]:
    """The port ranges as exact values and (value, mask); [None] for no ranges, which means any port."""
    if not ports:
        return [None]
    found: list[int | tuple[int, int] | None] = []
    for first, last in ports:
        at = first
        while at <= last:
            size = 1
            while at % (2 * size) == 0 and at + 2 * size - 1 <= last:
                size *= 2
            if size == 1 << 16:
                return [None]
            found.append(at if size == 1 else (at, 0x10000 - size))
            at += size
    return found


def _families(prefix: Prefix | None, ipv6: bool) -> Iterator[tuple[int, Matches]]:
    """(version, match of the other end) of a rule's prefix; None means anywhere."""
    if prefix is None:
        yield 4, {}
        if ipv6:
            yield 6, {}
    elif prefix.version == 4 or ipv6:
        yield prefix.version, {"prefix": prefix}


def _kinds(protocol: str, ports: Sequence[PortRange], version: int) -> Iterator[Matches]:
    """The matches of packets of a rule's protocol and destination ports."""
    if protocol == "any":
        yield {}
    elif protocol in _PROTOCOLS:
        for mask in port_masks(ports):
            yield {"ip_proto": _PROTOCOLS[protocol], **({} if mask is None else {f"{protocol}_dst": mask})}
    elif version == (4 if protocol == "icmp" else 6):
        yield {"ip_proto": PROTO_ICMP if version == 4 else PROTO_ICMPV6}


def _answers(protocol: str, ports: Sequence[PortRange], version: int) -> Iterator[Matches]:
    """The matches of answers to packets of this protocol to these ports."""
    for name, number in _PROTOCOLS.items():
        if protocol in ("any", name):
            for mask in port_masks(ports):
                source = SERVICE_PORTS if mask is None else mask
                yield {"ip_proto": number, f"{name}_src": source, f"{name}_dst": CLIENT_PORTS}
    if version == 4 and protocol in ("any", "icmp"):
        for number in _ANSWERS4:
            yield {"ip_proto": PROTO_ICMP, "icmpv4_type": number}
    if version == 6 and protocol in ("any", "icmpv6"):
        for number in _ANSWERS6:
            yield {"ip_proto": PROTO_ICMPV6, "icmpv6_type": number}


class _Direction:
    """One direction's table, fields and drop kind."""

    def __init__(self, vni: int, name: str, rule: int = 0) -> None:
        out = name == "egress"
        self.vni = vni
        self.rule = rule
        self.table = Table.EGRESS if out else Table.INGRESS
        self.vm = "eth_src" if out else "eth_dst"
        self.other = "dst" if out else "src"
        self.drop = Kind.DROP_FIREWALL_EGRESS if out else Kind.DROP_FIREWALL_INGRESS
        self.onward = Goto(Table.ROUTE if out else Table.VPORT)

    def flow(self, rank: int, action: FirewallAction, version: int | None, match: Matches) -> Flow:
        """A flow of this direction; in `match`, "prefix" stands for the other end and "vm" for the VM's MAC."""
        whole: Matches = {"metadata": self.vni}
        if version is not None:
            whole["eth_type"] = ETH_IPV4 if version == 4 else ETH_IPV6
        for field, value in match.items():
            name = {"prefix": f"ipv{version}_{self.other}", "vm": self.vm}.get(field, field)
            whole[name] = value
        if action == "deny":
            return make_flow(self.table, rank, self.drop, self.vni, whole, rule=self.rule)
        return make_flow(self.table, rank, Kind.FIREWALL, self.vni, whole, self.onward, rule=self.rule)


def _opposite(direction: str) -> str:
    return "ingress" if direction == "egress" else "egress"


def firewall_policy_flows(
    vni: int, ingress: FirewallAction, egress: FirewallAction, gateways: Iterable[IPv4Address], *, ipv6: bool
) -> list[Flow]:
    """Default actions of a network's firewall, for packets that no rule matches. A VM always reaches its gateway."""
    actions: Mapping[str, FirewallAction] = {"ingress": ingress, "egress": egress}
    flows = []
    for name, action in actions.items():
        direction = _Direction(vni, name)
        flows.append(direction.flow(_POLICY, action, None, {}))
        if action == "deny" and actions[_opposite(name)] == "allow":
            for version in (4, 6) if ipv6 else (4,):
                flows += [direction.flow(_ANSWERS, "allow", version, one) for one in _answers("any", (), version)]
    out = _Direction(vni, "egress")
    flows += [out.flow(_GATEWAY, "allow", 4, {"prefix": IPv4Network(gateway)}) for gateway in gateways]
    return flows


def firewall_rule_flows(
    name: str,
    vni: int,
    direction: str,
    action: FirewallAction,
    priority: int,
    *,
    targets: Iterable[str] | None,
    prefixes: Iterable[Prefix] | None,
    protocol: str,
    ports: Sequence[PortRange],
    ipv6: bool,
) -> Iterator[Flow]:
    """The flows of one rule at one VM host, with the answers to packets that it allows.

    Args:
        name: of the rule; the flows' cookies have its number.
        vni: VNI of the rule's network, 24 bits.
        direction: "ingress" for packets to the VMs, "egress" for packets from them.
        action: "allow" also allows the answers, in the opposite direction.
        priority: 0 to MAX_RULE_PRIORITY; the lowest number wins.
        targets: MACs of the VMs that it is for; None: all VMs of the network.
        prefixes: the other ends that it matches; None: anywhere.
        protocol: "any", "tcp", "udp", "icmp" or "icmpv6".
        ports: destination ports as (first, last), for TCP and UDP; empty: any port.
        ipv6: the network has IPv6 addresses.
    """
    rank = _LEAST_RULE + 2 * (MAX_RULE_PRIORITY - priority) + (action == "deny")
    number = rule_number(name)
    ways = [(_Direction(vni, direction, number), _kinds)]
    if action == "allow":
        ways.append((_Direction(vni, _opposite(direction), number), _answers))
    ends: list[Prefix | None] = [None] if prefixes is None else list(prefixes)
    vms: list[Matches] = [{}] if targets is None else [{"vm": mac_number(mac)} for mac in targets]
    for vm in vms:
        for end in ends:
            for version, other in _families(end, ipv6):
                for way, packets in ways:
                    for one in packets(protocol, ports, version):
                        yield way.flow(rank, action, version, {**vm, **other, **one})


# --- load balancers ---------------------------------------------------------------------------------


def _bucket(number: int, protocol: str) -> Matches:
    """The match of packets of one bucket, for a protocol with ports."""
    port, address = number >> ADDRESS_BITS, number & (1 << ADDRESS_BITS) - 1
    return {
        "ip_proto": _PROTOCOLS[protocol],
        f"{protocol}_src": (port << 1, (1 << PORT_BITS) - 1 << 1),
        "ipv4_src": (address, (1 << ADDRESS_BITS) - 1),
    }


def bucket_of(source: int, port: int | None) -> int:
    """The bucket of a packet: from its source address and, with TCP and UDP, its source port."""
    if port is None:
        return source & ADDRESS_ONLY_BUCKETS - 1
    return (port >> 1 & (1 << PORT_BITS) - 1) << ADDRESS_BITS | source & (1 << ADDRESS_BITS) - 1


def _protocols(protocol: str) -> tuple[str, ...]:
    return ("tcp", "udp") if protocol == "any" else (protocol,)


def _each_bucket(protocol: str, backends: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, int, Matches]]:
    """(backend, priority, match) of every bucket; buckets without ports only if all protocols are served."""
    for name in _protocols(protocol):
        for number, backend in enumerate(backends):
            yield backend, tables.EXACT, _bucket(number, name)
    if protocol == "any":
        for number, backend in enumerate(others):
            yield backend, tables.SOURCE, {"ipv4_src": (number, ADDRESS_ONLY_BUCKETS - 1)}


def balanced_flows(
    vni: int,
    vip: IPv4Address,
    protocol: str,
    ports: Sequence[PortRange],
    buckets: tuple[Sequence[str], Sequence[str]],
    underlays: Mapping[str, IPv4Address],
    *,
    local: Iterable[str] | None,
) -> Iterator[Flow]:
    """Flows of a switch that chooses backends: a flow to `vip` goes to the host of its bucket's backend.

    Args:
        vni: VNI of the load balancer's network, 24 bits.
        vip: the address that the backends share.
        protocol: "any", "tcp" or "udp".
        ports: destination ports that are served, as (first, last); empty: all.
        buckets: the backend's name for each of the BUCKETS for packets with ports, and for each of the
            ADDRESS_ONLY_BUCKETS for packets without.
        underlays: underlay address of each backend's host, by the backend's name.
        local: names of the backends on this VM host; None: the switch is a Hoverboard's.
    """
    here = set(local or ())
    first, second = (Table.ROUTE, Table.BALANCE) if local is not None else (Table.RELAY, Table.RELAY_BALANCE)
    to: Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": int(vip)}
    for one in _kinds(protocol, ports, vip.version):
        yield make_flow(first, tables.EXACT, Kind.BALANCE, vni, {**to, **one}, Goto(second))
    for backend, rank, match in _each_bucket(protocol, *buckets):
        actions: tuple[Action, ...] = (Goto(Table.DELIVER),)
        if backend not in here:
            actions = (
                Move("ipv4_dst", "reg5"),
                SetField("tunnel_id", vni),
                SetField("tun_ipv4_dst", int(underlays[backend])),
                Output(TUNNEL_PORT if local is not None else IN_PORT),
            )  # fmt: skip
        yield make_flow(second, rank, Kind.BALANCE, vni, {**to, **match}, *actions)


def backend_flows(
    vni: int,
    vip: IPv4Address,
    protocol: str,
    buckets: tuple[Sequence[str], Sequence[str]],
    here: Mapping[str, tuple[int, str] | None],
    *,
    guarded: bool,
) -> Iterator[Flow]:
    """Flows at the backends' host: packets from the fabric in a backend's buckets are delivered to it.

    Args:
        vni: VNI of the load balancer's network, 24 bits.
        vip: the address that the backends share.
        protocol: "any", "tcp" or "udp".
        buckets: as in `balanced_flows`.
        here: OpenFlow port and MAC of this host's backends, by name; None for one that is not plugged in. Separate
            flows drop its buckets, so that buckets of other protocols do not match instead.
        guarded: the network has a firewall.
    """
    to: Matches = {"metadata": vni, "eth_type": ETH_IPV4, "ipv4_dst": int(vip)}
    gateway = mac_number(GATEWAY_MAC)
    for backend, rank, match in _each_bucket(protocol, *buckets):
        if backend in here:
            plugged = here[backend]
            if plugged is None:
                yield make_flow(Table.DELIVER, rank, Kind.DROP_NO_SUCH_VM, vni, {**to, **match})
                continue
            port, mac = plugged
            yield make_flow(
                Table.DELIVER, rank, Kind.LOCAL, vni, {**to, **match},
                SetField("eth_dst", mac_number(mac)), SetField("eth_src", gateway),
                Goto(Table.INGRESS) if guarded else Output(port),
            )  # fmt: skip
