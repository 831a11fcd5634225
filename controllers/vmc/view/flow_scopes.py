"""What a group of flows is about: one kind of NamedTuple for each kind of group. Pure.

NamedTuples are equal when their fields are, whatever their class: `kind` is among the fields, so that a network
and a firewall of one name stay two scopes. Nobody gives it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Literal, NamedTuple


class BaseScope(NamedTuple):
    """The flows that every switch has."""

    kind: Literal["base"] = "base"


class NetworkScope(NamedTuple):
    """The flows of a network as such."""

    network: str
    kind: Literal["network"] = "network"


class VmScope(NamedTuple):
    """The flows because of a VM."""

    vm: str
    kind: Literal["vm"] = "vm"


class RouteScope(NamedTuple):
    """The flows because of the routes of a prefix."""

    network: str
    prefix: IPv4Network
    kind: Literal["route"] = "route"


class OffloadScope(NamedTuple):
    """The flows that take a pair of VMs host to host."""

    src: str
    dst: str
    kind: Literal["offload"] = "offload"


class LookupScope(NamedTuple):
    """The flows that answer a host's question about an address."""

    host: str
    network: str
    address: IPv4Address | IPv6Address
    kind: Literal["lookup"] = "lookup"


class FirewallScope(NamedTuple):
    """The flows of a network's firewall."""

    network: str
    kind: Literal["firewall"] = "firewall"


class BalancerScope(NamedTuple):
    """The flows because of a load balancer."""

    balancer: str
    kind: Literal["balancer"] = "balancer"


Scope = BaseScope | NetworkScope | VmScope | RouteScope | OffloadScope | LookupScope | FirewallScope | BalancerScope
BASE = BaseScope()
