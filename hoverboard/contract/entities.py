"""Entities of the fabric manager's interface (paper section 3.1, figure 2): intent, not mechanism.

An entity has a known type, a unique name and typed parameters. Entities are immutable; a change is
a new entity of the same type and name. What one entity alone can get wrong is checked here; what
needs the others (a VM whose network does not exist) is checked by `controllers.fm`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

# VNI 0 carries the probes between hosts (contract.encapsulation).
MAX_VNI = (1 << 24) - 1
MAX_PREFIX6 = 126
# Unspecified, loopback and IPv4-mapped (RFC 4291, 2.5), link-local, multicast.
_NOT_FOR_VMS = tuple(map(IPv6Network, ("::/64", "fe80::/10", "ff00::/8")))


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


def unusable_ip6(address: IPv6Address | IPv6Network) -> str | None:
    """Why VMs cannot have an IPv6 address, or addresses of a prefix; None if they can."""
    prefix = IPv6Network(address)
    for of_its_own in _NOT_FOR_VMS:
        if prefix.overlaps(of_its_own):
            return f"{address} reaches into {of_its_own}, which is not for VMs"
    return None


def _ip6(value: IPv6Address) -> IPv6Address:
    fault = unusable_ip6(value)
    if fault is not None:
        raise ValueError(fault)
    return value


def _prefix6(value: IPv6Network) -> IPv6Network:
    if value.prefixlen > MAX_PREFIX6:
        raise ValueError(f"prefix {value} has no room for VMs; use /{MAX_PREFIX6} or shorter, such as /64")
    fault = unusable_ip6(value)
    if fault is not None:
        raise ValueError(fault)
    return value


Name = Annotated[str, AfterValidator(_name)]
Mac = Annotated[str, AfterValidator(_mac)]
Ip6 = Annotated[IPv6Address, AfterValidator(_ip6)]
Prefix6 = Annotated[IPv6Network, AfterValidator(_prefix6)]
# Generations of the dataplane, oldest first; what each is like is in contract.generations.
Dataplane = Literal["pre", "ovs", "ovs-offload", "fastpath-vmm", "fastpath"]
Scheduling = Literal["adaptive", "dedicated", "compacting"]  # of the fast path's engines (paper 4.2)


class Entity(BaseModel):
    """Base of all entities: frozen, no unknown parameters, `name` unique within its type."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    TYPE: ClassVar[str] = ""

    name: Name


class Network(Entity):
    """A virtual network; `vni` is its 24-bit identifier on the wire, unique in the cluster."""

    TYPE = "Network"
    vni: Annotated[int, Field(ge=1, le=MAX_VNI)]


class Subnetwork(Entity):
    """An address range of a network; the switch answers for `gateway` (default: first address).

    `prefix6` is its IPv6 range, if its VMs may have IPv6 addresses too. Their gateway is a link-local
    address, the same in every network (contract.encapsulation).
    """

    TYPE = "Subnetwork"
    network: Name
    prefix: IPv4Network
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
        """The gateway's address, given or the first of the prefix."""
        return self.gateway if self.gateway is not None else self.prefix.network_address + 1


class VM(Entity):
    """A virtual machine with one NIC: where it should run and what it may send as.

    `ip6` is a second address, in the IPv6 range of the Subnetwork that `ip` is in. `rate_bps` is the
    NIC's line rate (0: unlimited). The vport is not here: it is a physical fact,
    reported by the host's agent and the host's switch.
    """

    TYPE = "VM"
    network: Name
    ip: IPv4Address
    mac: Mac
    host: Name
    ip6: Ip6 | None = None
    tags: tuple[str, ...] = ()
    external_ips: tuple[IPv4Address, ...] = ()
    rate_bps: Annotated[int, Field(ge=0)] = 0


class Route(Entity):
    """Traffic of `network` to an address in `prefix` goes to VM `next_hop`, a VM of the same network.

    Of the routes that cover an address the longest prefix wins, then the lowest `priority` number.
    The choice is by intent alone: a next hop that is not plugged in drops, no other route steps in.
    A prefix never overlaps a Subnetwork of the network, so that no route can take a VM's own traffic.
    Being the next hop of a route, a winning one or not, allows a VM to send with source addresses
    inside the prefix; without that its answers would be dropped as spoofed.
    """

    TYPE = "Route"
    network: Name
    prefix: IPv4Network
    next_hop: Name
    priority: Annotated[int, Field(ge=0, le=65535)] = 1000


class Host(Entity):
    """A VM host: its address in the fabric and its dataplane generation (informative)."""

    TYPE = "Host"
    underlay_ip: IPv4Address
    dataplane: Dataplane = "fastpath"


class Hoverboard(Entity):
    """A gateway that knows the routes of every virtual network (paper section 3.3.1)."""

    TYPE = "Hoverboard"
    underlay_ip: IPv4Address
    dataplane: Dataplane = "fastpath"


class FirewallRule(Entity):
    """Reserved: the type and its name exist, requests that carry one are refused until enforced."""

    TYPE = "FirewallRule"
    network: Name


AnyEntity = Network | Subnetwork | VM | Route | Host | Hoverboard | FirewallRule
ENTITY_TYPES: dict[str, type[AnyEntity]] = {
    kind.TYPE: kind for kind in (Network, Subnetwork, VM, Route, Host, Hoverboard, FirewallRule)
}
