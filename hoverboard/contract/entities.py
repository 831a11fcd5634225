"""Entities of the fabric manager's interface (paper section 3.1, figure 2): intent, not mechanism.

An entity has a known type, a unique name and typed parameters. Entities are immutable: a change is a new entity of the
same type and name. This module checks each entity alone. Checks that need other entities (the network of a VM exists)
are in `controllers.fm`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hoverboard.contract.generations import Dataplane as Dataplane
from hoverboard.contract.packets import unroutable, unusable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")

# VNI 0 carries the probes between hosts (contract.encapsulation).
MAX_VNI = (1 << 24) - 1
MAX_COUNT = (1 << 63) - 1  # the words of the engines have 64 bits, with a sign
MAX_PREFIX6 = 126
# Limits of one entity: each item becomes flows in switches.
MAX_RANGES, MAX_TAGS, MAX_PREFIXES, MAX_BACKENDS = 16, 32, 64, 256
MAX_RULE_PRIORITY = 30_000


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: letters, digits, '.', '_', '-', at most 63, letter or digit first")
    return value


def _mac(value: str) -> str:
    lowered = value.lower()
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"{value!r} is not a MAC address like 02:00:00:00:00:01")
    if int(lowered[:2], 16) & 1:
        raise ValueError(f"{value!r} is a multicast MAC; a NIC needs a unicast one")
    return lowered


_Found = TypeVar("_Found", IPv4Address, IPv6Address, IPv4Network, IPv6Network)


def _for_vms(value: _Found) -> _Found:
    fault = unusable(value)
    if fault is not None:
        raise ValueError(fault)
    return value


def _routed(value: IPv4Network) -> IPv4Network:
    fault = unroutable(value)
    if fault is not None:
        raise ValueError(fault)
    return value


def _prefix6(value: IPv6Network) -> IPv6Network:
    if value.prefixlen > MAX_PREFIX6:
        raise ValueError(f"prefix {value} has no room for VMs; use /{MAX_PREFIX6} or shorter, such as /64")
    return _for_vms(value)


def _port_range(value: Any) -> Any:
    """The port range (first, last) of "80", 80 or "8000-8099"."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        match = _PORTS.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a port, nor a range like 8000-8099")
        value = (int(match[1]), int(match[2] or match[1]))
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(port, int) for port in value):
        first, last = value
        if not 0 <= first <= last <= 0xFFFF:
            raise ValueError(f"{first}-{last} is not a range of ports: 0 to 65535, the lower one first")
    return value


def _in_order(value: tuple[PortRange, ...]) -> tuple[PortRange, ...]:
    """Sorted, and without overlaps: each port is in one range at most."""
    merged: list[PortRange] = []
    for first, last in sorted(value):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


Name = Annotated[str, AfterValidator(_name)]
PortRange = tuple[int, int]  # first and last
OnePortRange = Annotated[PortRange, BeforeValidator(_port_range, json_schema_input_type=int | str)]
Ports = Annotated[tuple[OnePortRange, ...], AfterValidator(_in_order), Field(max_length=MAX_RANGES)]
Tags = Annotated[tuple[Name, ...], Field(max_length=MAX_TAGS)]
Mac = Annotated[str, AfterValidator(_mac)]
Vni = Annotated[int, Field(ge=1, le=MAX_VNI)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Ip4 = Annotated[IPv4Address, AfterValidator(_for_vms)]
Ip6 = Annotated[IPv6Address, AfterValidator(_for_vms)]
Prefix4 = Annotated[IPv4Network, AfterValidator(_for_vms)]
RoutedPrefix = Annotated[IPv4Network, AfterValidator(_routed)]
Prefix6 = Annotated[IPv6Network, AfterValidator(_prefix6)]
FirewallAction = Literal["allow", "deny"]
Program = Literal["ours", "external"]  # who programs a host's switch: our control plane, or another controller
Scheduling = Literal["adaptive", "dedicated", "compacting"]  # of the fast path's engines (paper 4.2)


class Entity(BaseModel):
    """Base of all entities: immutable, without unknown parameters, with a `name` that is unique within its type."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    TYPE: ClassVar[str] = ""

    name: Name


class Network(Entity):
    """A virtual network; `vni` is its 24-bit identifier on the wire, unique in the cluster.

    `ingress` and `egress` are the firewall's default actions, for packets to and from its VMs that no FirewallRule
    matches. `rate_bps` is the default line rate of its VMs (0: unlimited). Rates reach the hosts with the VMs, from
    topology files; the fabric manager rejects any value but 0.
    """

    TYPE = "Network"
    vni: Vni
    ingress: FirewallAction = "allow"
    egress: FirewallAction = "allow"
    rate_bps: Annotated[int, Field(ge=0)] = 0


class Subnetwork(Entity):
    """An address range of a network; the switch answers for `gateway` (default: first address).

    `prefix6` is its IPv6 range, if its VMs may have IPv6 addresses, too. Their gateway is a link-local address, the
    same in every network (contract.encapsulation).
    """

    TYPE = "Subnetwork"
    network: Name
    prefix: Prefix4
    gateway: IPv4Address | None = None
    prefix6: Prefix6 | None = None

    @model_validator(mode="after")
    def _gateway_inside(self) -> Subnetwork:
        if self.prefix.prefixlen > 30:
            raise ValueError(f"prefix {self.prefix} has no room for a gateway and a VM; use /30 or shorter")
        if self.gateway is not None and self.gateway not in self.prefix:
            raise ValueError(f"gateway {self.gateway} is outside {self.prefix}")
        return self

    @property
    def gateway_address(self) -> IPv4Address:
        """The gateway's address: `gateway`, or the first address of the prefix."""
        return self.gateway if self.gateway is not None else self.prefix.network_address + 1


class VM(Entity):
    """A virtual machine with one NIC: its host, and the addresses that it may send from.

    `ip6` is a second address, in the IPv6 range of the Subnetwork that `ip` is in. FirewallRules select VMs by `tags`.
    `external_ips` are unique in the cluster. `rate_bps` is the NIC's line rate (0: its network's); the fabric manager
    rejects any value but 0, as for the Network. The vport is not a parameter: it is a physical fact, which the host's
    agent and the host's switch report.
    """

    TYPE = "VM"
    network: Name
    ip: Ip4
    mac: Mac
    host: Name
    ip6: Ip6 | None = None
    tags: Tags = ()
    external_ips: Annotated[tuple[Ip4, ...], Field(max_length=MAX_TAGS)] = ()
    rate_bps: Annotated[int, Field(ge=0)] = 0


class Route(Entity):
    """Traffic of `network` to an address in `prefix` goes to VM `next_hop`, a VM of the same network.

    If several routes match an address, the longest prefix wins, then the lowest `priority` number. Only the intent
    decides: if the next hop is not plugged in, packets are dropped, and no other route replaces it. A prefix never
    overlaps a Subnetwork of the network, so that no route takes a VM's own traffic. The next hop of a route, winning or
    not, may send with source addresses inside the prefix. Without that its answers would be dropped as spoofed.
    """

    TYPE = "Route"
    network: Name
    prefix: RoutedPrefix
    next_hop: Name
    priority: Annotated[int, Field(ge=0, le=65535)] = 1000


class Host(Entity):
    """A VM host: its fabric address, its dataplane generation (for information), and its region if there are several.

    `program` says who programs its switch. With "external" it gets none of our flows, and flows of others stay.
    """

    TYPE = "Host"
    underlay_ip: Ip4
    dataplane: Dataplane = "fastpath"
    region: Name | None = None
    program: Program = "ours"


class Hoverboard(Entity):
    """A gateway that knows the routes of every virtual network (paper section 3.3.1)."""

    TYPE = "Hoverboard"
    underlay_ip: Ip4
    dataplane: Dataplane = "fastpath"
    region: Name | None = None


class FirewallRule(Entity):
    """A rule that allows or denies packets to (ingress) or from (egress) VMs of a network, enforced at their hosts.

    The matching rule with the lowest `priority` number decides; at equal priority, deny wins. A rule matches packets
    of VMs that have one of the `targets` tags (empty: all VMs of the network). The other end is in one of `prefixes`,
    or is a VM with one of the `tags` (both empty: any other end). The packets have `protocol` and one of the
    destination `ports` (empty: any port). Rules are stateless: an answer to an allowed packet is recognized by its
    ports (docs/fabric-manager.md).
    """

    TYPE = "FirewallRule"
    network: Name
    direction: Literal["ingress", "egress"]
    action: FirewallAction
    priority: Annotated[int, Field(ge=0, le=MAX_RULE_PRIORITY)] = 1000
    targets: Tags = ()
    prefixes: Annotated[tuple[IPv4Network | IPv6Network, ...], Field(max_length=MAX_PREFIXES)] = ()
    tags: Tags = ()
    protocol: Literal["any", "tcp", "udp", "icmp", "icmpv6"] = "any"
    ports: Ports = ()

    @model_validator(mode="after")
    def _ports_of_a_protocol(self) -> FirewallRule:
        if self.ports and self.protocol not in ("tcp", "udp"):
            raise ValueError(f"ports mean nothing with protocol {self.protocol!r}; give tcp or udp")
        family = {"icmp": 4, "icmpv6": 6}.get(self.protocol)
        for prefix in self.prefixes:
            if family is not None and prefix.version != family:
                raise ValueError(f"{prefix} is not an IPv{family} prefix, and {self.protocol} has no other")
        return self


class LoadBalancer(Entity):
    """An address of a network that several VMs share: each flow goes to one of `backends` (direct server return).

    The backends have `ip` in addition to their own address, and answer from it. Bits of a flow's source port and
    address choose its backend, so that a flow stays at one backend. If a backend is removed, only its flows move.
    `ports` are the destination ports that are served (empty: all).
    """

    TYPE = "LoadBalancer"
    network: Name
    ip: Ip4
    backends: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_BACKENDS)]
    protocol: Literal["any", "tcp", "udp"] = "any"
    ports: Ports = ()

    @model_validator(mode="after")
    def _backends_once(self) -> LoadBalancer:
        twice = {name for name in self.backends if self.backends.count(name) > 1}
        if twice:
            raise ValueError(f"backend {min(twice)!r} is given twice")
        if self.ports and self.protocol == "any":
            raise ValueError("ports mean nothing with protocol 'any'; give tcp or udp")
        return self


AnyEntity = Network | Subnetwork | VM | Route | Host | Hoverboard | FirewallRule | LoadBalancer
ENTITY_TYPES: dict[str, type[AnyEntity]] = {
    kind.TYPE: kind for kind in (Network, Subnetwork, VM, Route, Host, Hoverboard, FirewallRule, LoadBalancer)
}
