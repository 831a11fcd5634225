"""Indices over the entities of one cluster; with them, a check takes time proportional to the request.

`add` and `remove` are exact inverses; `add` rejects values that are not unique. `controllers.fm.intent_checks` checks
references between entities.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TypeVar

from hoverboard.contract.entities import (
    VM,
    AnyEntity,
    FirewallRule,
    Host,
    Hoverboard,
    LoadBalancer,
    Network,
    Route,
    Subnetwork,
)
from hoverboard.contract.errors import EntityError

_T = TypeVar("_T")
EntityKey = tuple[str, str]  # type, name


def key_of(entity: AnyEntity) -> EntityKey:
    """(type, name): the key of an entity in the cluster."""
    return (entity.TYPE, entity.name)


def entity_where(entity: AnyEntity, field: str) -> str:
    """ "VM/blue-1.ip": the place that an EntityError names."""
    return f"{entity.TYPE}/{entity.name}.{field}"


class FabricIndex:
    """Entities by name, by each unique value, and by the entities that they refer to."""

    def __init__(self) -> None:
        self.entities: dict[EntityKey, AnyEntity] = {}
        self.network_by_vni: dict[int, Network] = {}
        self.node_by_underlay: dict[IPv4Address, Host | Hoverboard] = {}
        self.node_by_name: dict[str, Host | Hoverboard] = {}
        self.vm_by_address: dict[tuple[str, IPv4Address | IPv6Address], VM | LoadBalancer] = {}
        self.vm_by_external: dict[IPv4Address, VM] = {}
        self.vm_by_mac: dict[tuple[str, str], VM] = {}
        self.subnetworks: dict[str, dict[str, Subnetwork]] = {}
        self.vms_of_network: dict[str, dict[str, VM]] = {}
        self.vms_of_host: dict[str, dict[str, VM]] = {}
        self.routes_of_network: dict[str, dict[str, Route]] = {}
        self.routes_of_next_hop: dict[str, dict[str, Route]] = {}
        self.route_by_rank: dict[tuple[str, IPv4Network, int], Route] = {}
        self.rules_of_network: dict[str, dict[str, FirewallRule]] = {}
        self.balancers_of_network: dict[str, dict[str, LoadBalancer]] = {}
        self.balancers_of_backend: dict[str, dict[str, LoadBalancer]] = {}

    def add(self, entity: AnyEntity) -> None:
        """Add `entity`.

        Raises:
            EntityError: a name, address, MAC or VNI is taken already; nothing was changed.
        """
        match entity:
            case Network():
                _reject_if_taken(self.network_by_vni.get(entity.vni), entity, "vni", entity.vni)
                self.network_by_vni[entity.vni] = entity
            case Host() | Hoverboard():
                _reject_if_taken(self.node_by_name.get(entity.name), entity, "name", repr(entity.name))
                underlay = entity.underlay_ip
                _reject_if_taken(self.node_by_underlay.get(underlay), entity, "underlay_ip", underlay)
                self.node_by_name[entity.name] = entity
                self.node_by_underlay[underlay] = entity
            case VM():
                by_address, by_mac = (entity.network, entity.ip), (entity.network, entity.mac)
                _reject_if_taken(self.vm_by_address.get(by_address), entity, "ip", entity.ip, entity.network)
                _reject_if_taken(self.vm_by_mac.get(by_mac), entity, "mac", entity.mac, entity.network)
                for external in entity.external_ips:
                    _reject_if_taken(self.vm_by_external.get(external), entity, "external_ips", external)
                if entity.ip6 is not None:
                    by_ip6 = (entity.network, entity.ip6)
                    _reject_if_taken(self.vm_by_address.get(by_ip6), entity, "ip6", entity.ip6, entity.network)
                    self.vm_by_address[by_ip6] = entity
                self.vm_by_external.update(dict.fromkeys(entity.external_ips, entity))
                self.vm_by_address[by_address] = entity
                self.vm_by_mac[by_mac] = entity
                self.vms_of_network.setdefault(entity.network, {})[entity.name] = entity
                self.vms_of_host.setdefault(entity.host, {})[entity.name] = entity
            case Subnetwork():
                self.subnetworks.setdefault(entity.network, {})[entity.name] = entity
            case Route():
                rank = (entity.network, entity.prefix, entity.priority)
                taken = f"{entity.priority} for {entity.prefix} in network {entity.network!r}"
                _reject_if_taken(self.route_by_rank.get(rank), entity, "priority", taken)
                self.route_by_rank[rank] = entity
                self.routes_of_network.setdefault(entity.network, {})[entity.name] = entity
                self.routes_of_next_hop.setdefault(entity.next_hop, {})[entity.name] = entity
            case FirewallRule():
                self.rules_of_network.setdefault(entity.network, {})[entity.name] = entity
            case LoadBalancer():
                address = (entity.network, entity.ip)
                taken = f"{entity.ip} in network {entity.network!r}"
                _reject_if_taken(self.vm_by_address.get(address), entity, "ip", taken)
                self.vm_by_address[address] = entity
                self.balancers_of_network.setdefault(entity.network, {})[entity.name] = entity
                for backend in entity.backends:
                    self.balancers_of_backend.setdefault(backend, {})[entity.name] = entity
        self.entities[key_of(entity)] = entity

    def remove(self, entity: AnyEntity) -> None:
        """Remove `entity`, which is in the index."""
        del self.entities[key_of(entity)]
        match entity:
            case Network():
                del self.network_by_vni[entity.vni]
            case Host() | Hoverboard():
                del self.node_by_name[entity.name]
                del self.node_by_underlay[entity.underlay_ip]
            case VM():
                del self.vm_by_address[entity.network, entity.ip]
                if entity.ip6 is not None:
                    del self.vm_by_address[entity.network, entity.ip6]
                del self.vm_by_mac[entity.network, entity.mac]
                for external in set(entity.external_ips):
                    del self.vm_by_external[external]
                _discard(self.vms_of_network, entity.network, entity.name)
                _discard(self.vms_of_host, entity.host, entity.name)
            case Subnetwork():
                _discard(self.subnetworks, entity.network, entity.name)
            case Route():
                del self.route_by_rank[entity.network, entity.prefix, entity.priority]
                _discard(self.routes_of_network, entity.network, entity.name)
                _discard(self.routes_of_next_hop, entity.next_hop, entity.name)
            case FirewallRule():
                _discard(self.rules_of_network, entity.network, entity.name)
            case LoadBalancer():
                del self.vm_by_address[entity.network, entity.ip]
                _discard(self.balancers_of_network, entity.network, entity.name)
                for backend in entity.backends:
                    _discard(self.balancers_of_backend, backend, entity.name)


def _discard(index: dict[str, dict[str, _T]], key: str, name: str) -> None:
    inner = index[key]
    del inner[name]
    if not inner:
        del index[key]


def _reject_if_taken(
    holder: AnyEntity | None, entity: AnyEntity, field: str, value: object, network: str | None = None
) -> None:
    # `value` is not text yet: formatting every VM's addresses would cost more than adding the VM.
    if holder is not None:
        within = "" if network is None else f" in network {network!r}"
        raise EntityError(
            f"{value}{within} is taken by {holder.TYPE} {holder.name!r}",
            where=entity_where(entity, field),
            next_step=f"give it {_article(field)} {field} that is not taken",
        )


def _article(field: str) -> str:
    return "an" if field.startswith(("a", "e", "i", "o", "u")) else "a"
