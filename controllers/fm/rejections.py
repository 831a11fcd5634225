"""The errors of the fabric manager's store: the fault, its place, and the next step. Pure; decides nothing.

(Paper section 3.1: a rejected request names the entity and the field.)
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from controllers.fm.index import entity_where, key_of
from hoverboard.contract.entities import (
    ENTITY_TYPES,
    VM,
    AnyEntity,
    LoadBalancer,
    Network,
    Subnetwork,
)
from hoverboard.contract.errors import EntityError


def unknown_type(kind: str, name: str) -> EntityError:
    """The error for an entity type that does not exist."""
    return EntityError(
        f"unknown entity type {kind!r}", where=f"{kind}/{name}", next_step=f"use one of {', '.join(ENTITY_TYPES)}"
    )


def overlap(
    subnetwork: Subnetwork, field: str, prefix: IPv4Network | IPv6Network, taken: object, other: Subnetwork
) -> EntityError:
    """The error for two overlapping ranges of one network."""
    return EntityError(
        f"{prefix} overlaps {taken} of Subnetwork {other.name!r} in network {subnetwork.network!r}",
        where=entity_where(subnetwork, field),
        next_step="choose prefixes that do not overlap inside one network",
    )


def check_ip6(vm: VM, ip6: IPv6Address, home: Subnetwork) -> None:
    """Raise EntityError unless `ip6` is an address of the Subnetwork that holds the VM's IPv4 address."""
    if home.prefix6 is None or ip6 not in home.prefix6:
        has = f"has {home.prefix6}" if home.prefix6 is not None else "has no IPv6 range"
        raise EntityError(
            f"{ip6} is not in Subnetwork {home.name!r}, which holds {vm.ip} and {has}",
            where=entity_where(vm, "ip6"),
            next_step="use an address of its prefix6, or leave ip6 out",
        )
    if ip6 == home.prefix6.network_address:
        raise EntityError(
            f"{ip6} is the subnet-router anycast address of {home.prefix6}",
            where=entity_where(vm, "ip6"),
            next_step="choose a higher address",
        )


def is_gateway(vm: VM | LoadBalancer, address: IPv4Address, subnetwork: Subnetwork) -> EntityError:
    """The error for an address that is the gateway's."""
    return EntityError(
        f"{address} is the gateway of Subnetwork {subnetwork.name!r}",
        where=entity_where(vm, "ip"),
        next_step="choose another address",
    )


def in_use(old: AnyEntity, left: Sequence[AnyEntity]) -> EntityError:
    """The error for an entity that others refer to, and that a request removes or changes."""
    names = ", ".join("/".join(key_of(entity)) for entity in left[:3])
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return EntityError(
        f"it is still needed by {names}{more}",
        where=entity_where(old, "name"),
        next_step="remove what needs it in the same request or before",
    )


def rate_rejected(entity: Network | VM) -> EntityError:
    """The error for a rate that nothing would enforce: hosts get rates with their VMs, not from the fabric manager."""
    return EntityError(
        f"a rate of {entity.rate_bps} bit/s would not be enforced: requests do not carry rates to the hosts",
        where=entity_where(entity, "rate_bps"),
        next_step="leave it out; give `rate` in the topology file, and apply that with `hoverboard apply`",
    )
