"""The scopes: the objects for which switches hold flows, one kind of NamedTuple for each kind. Pure.

NamedTuples of different classes are equal when their fields are. The field `kind` keeps a network and a firewall of
one name apart; it always has its default.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Literal, NamedTuple


class BaseScope(NamedTuple):
    """The flows that every switch has."""

    kind: Literal["base"] = "base"


class NetworkScope(NamedTuple):
    """The flows of a network itself."""

    network: str
    kind: Literal["network"] = "network"


class VmScope(NamedTuple):
    """The flows for a VM."""

    vm: str
    kind: Literal["vm"] = "vm"


class RouteScope(NamedTuple):
    """The flows for the routes of a prefix."""

    network: str
    prefix: IPv4Network
    kind: Literal["route"] = "route"


class OffloadScope(NamedTuple):
    """The flows that send a pair's traffic over the direct path."""

    src: str
    dst: str
    kind: Literal["offload"] = "offload"


class LookupScope(NamedTuple):
    """The flows that answer a host's lookup of an address."""

    host: str
    network: str
    address: IPv4Address | IPv6Address
    kind: Literal["lookup"] = "lookup"


class FirewallScope(NamedTuple):
    """The flows of a network's firewall."""

    network: str
    kind: Literal["firewall"] = "firewall"


class BalancerScope(NamedTuple):
    """The flows for a load balancer."""

    balancer: str
    kind: Literal["balancer"] = "balancer"


Scope = BaseScope | NetworkScope | VmScope | RouteScope | OffloadScope | LookupScope | FirewallScope | BalancerScope
BASE = BaseScope()
