"""The view of a VM controller: the intent, and the vports of the VMs that are plugged in.

Plain indices; an update takes time proportional to the change. The programming models read the view and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping, Sized
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

_K = TypeVar("_K")
_C = TypeVar("_C", bound=Sized)


class View:
    """The intent by every key that the models need, and `ports`: VM name -> OpenFlow port, for joined VMs only."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.network_by_vni: dict[int, str] = {}
        self.subnetworks: dict[str, dict[str, Subnetwork]] = {}
        self.vms: dict[str, VM] = {}
        self.hosts: dict[str, Host] = {}
        self.external: set[str] = set()  # hosts whose switches other programs control
        self.hoverboards: dict[str, Hoverboard] = {}
        self.down: set[str] = set()  # Hoverboards that are down (vmc.view.liveness)
        self.ports: dict[str, int] = {}
        self.vms_of_network: dict[str, set[str]] = {}
        self.routes: dict[str, dict[IPv4Network, set[Route]]] = {}
        self.rules: dict[str, dict[str, FirewallRule]] = {}
        self.balancers: dict[str, LoadBalancer] = {}
        self.balancers_of: dict[str, set[str]] = {}
        self._routes_via: dict[str, set[Route]] = {}
        self._balancers_via: dict[str, set[str]] = {}
        self._tagged: dict[tuple[str, str], set[str]] = {}
        self._tags_in_rules: dict[str, Counter[str]] = {}
        self._vms_on: dict[tuple[str, str], set[str]] = {}
        self._hosts_of: dict[str, set[str]] = {}
        self._networks_on: dict[str, set[str]] = {}
        self._vm_at: dict[tuple[str, IPv4Address | IPv6Address], str] = {}

    def gateways(self) -> list[str]:
        """The Hoverboards to use: those that are alive, or all if none is (fail static)."""
        living = [name for name in self.hoverboards if name not in self.down]
        return living or list(self.hoverboards)

    def present(self, host: str, network: str) -> bool:
        """Whether a VM of `network` should run on `host`."""
        return (host, network) in self._vms_on

    def hosts_of(self, network: str) -> set[str]:
        """Hosts that have a VM of `network`; not to be modified."""
        return self._hosts_of.get(network, set())

    def networks_on(self, host: str) -> set[str]:
        """Networks that have a VM on `host`; not to be modified."""
        return self._networks_on.get(host, set())

    def vms_on(self, host: str) -> list[str]:
        """VMs that should run on `host`."""
        return [vm for network in self.networks_on(host) for vm in self._vms_on[host, network]]

    def intended(self) -> int:
        """The number of VMs that should be plugged in at switches that are ours to program."""
        return len(self.vms) - sum(len(self.vms_on(host)) for host in self.external)

    def vms_among(self, entities: Iterable[AnyEntity]) -> Iterable[str]:
        """The VMs among entities, and those on hosts among them; each once."""
        found: dict[str, None] = {}
        for entity in entities:
            if isinstance(entity, VM):
                found[entity.name] = None
            elif isinstance(entity, Host):
                found.update(dict.fromkeys(self.vms_on(entity.name)))
        return found

    def vm_at(self, vni: int, address: IPv4Address | IPv6Address) -> VM | None:
        """The VM with this address in the network of this VNI, or None."""
        network = self.network_by_vni.get(vni)
        name = self._vm_at.get((network, address)) if network is not None else None
        return self.vms[name] if name is not None else None

    def winner(self, network: str, prefix: IPv4Network) -> VM | None:
        """The next hop of the winning route of exactly this prefix, or None if there is no such route."""
        routes = self.routes.get(network, {}).get(prefix)
        return self.vms[min(routes, key=lambda route: route.priority).next_hop] if routes else None

    def next_hops(self, network: str, prefix: IPv4Network) -> list[VM]:
        """Next hops of all routes of exactly this prefix, each once, in a fixed order."""
        routes = self.routes.get(network, {}).get(prefix, ())
        return [self.vms[name] for name in sorted({route.next_hop for route in routes})]

    def shorter(self, network: str, prefix: IPv4Network) -> Iterator[IPv4Network]:
        """Routed prefixes of the network that contain `prefix` and are shorter."""
        routed = self.routes.get(network, {})
        return (other for length in range(prefix.prefixlen) if (other := prefix.supernet(new_prefix=length)) in routed)

    def longer(self, network: str, prefix: IPv4Network) -> Iterator[IPv4Network]:
        """Routed prefixes of the network that lie inside `prefix` and are longer."""
        return (other for other in self.routes.get(network, {}) if other != prefix and other.subnet_of(prefix))

    def prefixes_via(self, vm: str) -> set[tuple[str, IPv4Network]]:
        """(network, prefix) of the routes, winning or not, that have `vm` as next hop."""
        routes = self._routes_via.get(vm)
        return {(route.network, route.prefix) for route in routes} if routes else set()

    def speaks_ipv6(self, network: str) -> bool:
        """Whether VMs of `network` may have IPv6 addresses."""
        return any(subnetwork.prefix6 is not None for subnetwork in self.subnetworks.get(network, {}).values())

    def guarded(self, network: str) -> bool:
        """Whether the network has a firewall: a rule, or a default policy of deny."""
        known = self.networks.get(network)
        return network in self.rules or (known is not None and "deny" in (known.ingress, known.egress))

    def tagged(self, network: str, tags: Iterable[str]) -> list[VM]:
        """VMs of the network that have one of these tags, each once, in a fixed order."""
        names = {name for tag in tags for name in self._tagged.get((network, tag), ())}
        return [self.vms[name] for name in sorted(names)]

    def named_by_rules(self, vm: VM) -> bool:
        """Whether a rule of its network names one of the VM's tags."""
        counted = self._tags_in_rules.get(vm.network)
        return counted is not None and any(tag in counted for tag in vm.tags)

    def balancers_via(self, vm: str) -> set[str]:
        """Load balancers that have `vm` as a backend; not to be modified."""
        return self._balancers_via.get(vm, set())

    def routed_to_host(self, vni: int, address: IPv4Address | IPv6Address, host: str) -> bool:
        """Whether a next hop or a backend on `host` may send from this address, which belongs to no VM."""
        network = self.network_by_vni.get(vni, "")
        for name in self.balancers_of.get(network, ()):
            balancer = self.balancers[name]
            if address == balancer.ip and any(self.vms[vm].host == host for vm in balancer.backends):
                return True
        return any(
            address in prefix and any(vm.host == host for vm in self.next_hops(network, prefix))
            for prefix in self.routes.get(network, ())
        )

    def add(self, entity: AnyEntity) -> None:
        """Add a validated entity that is not in the view."""
        match entity:
            case Network():
                self.networks[entity.name] = entity
                self.network_by_vni[entity.vni] = entity.name
            case Subnetwork():
                self.subnetworks.setdefault(entity.network, {})[entity.name] = entity
            case Host():
                self.hosts[entity.name] = entity
                if entity.program == "external":
                    self.external.add(entity.name)
            case Hoverboard():
                self.hoverboards[entity.name] = entity
            case VM():
                self.vms[entity.name] = entity
                for address in addresses(entity):
                    self._vm_at[entity.network, address] = entity.name
                self.vms_of_network.setdefault(entity.network, set()).add(entity.name)
                self._vms_on.setdefault((entity.host, entity.network), set()).add(entity.name)
                self._hosts_of.setdefault(entity.network, set()).add(entity.host)
                self._networks_on.setdefault(entity.host, set()).add(entity.network)
                for tag in entity.tags:
                    self._tagged.setdefault((entity.network, tag), set()).add(entity.name)
            case Route():
                self.routes.setdefault(entity.network, {}).setdefault(entity.prefix, set()).add(entity)
                self._routes_via.setdefault(entity.next_hop, set()).add(entity)
            case FirewallRule():
                self.rules.setdefault(entity.network, {})[entity.name] = entity
                self._tags_in_rules.setdefault(entity.network, Counter()).update((*entity.targets, *entity.tags))
            case LoadBalancer():
                self.balancers[entity.name] = entity
                self.balancers_of.setdefault(entity.network, set()).add(entity.name)
                for backend in entity.backends:
                    self._balancers_via.setdefault(backend, set()).add(entity.name)

    def remove(self, entity: AnyEntity) -> None:
        """Remove an entity that is in the view."""
        match entity:
            case Network():
                del self.networks[entity.name]
                del self.network_by_vni[entity.vni]
            case Subnetwork():
                del self.subnetworks[entity.network][entity.name]
                _prune(self.subnetworks, entity.network)
            case Host():
                del self.hosts[entity.name]
                self.external.discard(entity.name)
            case Hoverboard():
                del self.hoverboards[entity.name]
            case VM():
                self._remove_vm(entity)
            case Route():
                prefixes = self.routes[entity.network]
                prefixes[entity.prefix].discard(entity)
                _prune(prefixes, entity.prefix)
                _prune(self.routes, entity.network)
                self._routes_via[entity.next_hop].discard(entity)
                _prune(self._routes_via, entity.next_hop)
            case FirewallRule():
                del self.rules[entity.network][entity.name]
                _prune(self.rules, entity.network)
                # The network may have rules without tags left: then the counter is absent already.
                counted = self._tags_in_rules.pop(entity.network, Counter())
                counted.subtract((*entity.targets, *entity.tags))
                if left := +counted:
                    self._tags_in_rules[entity.network] = left
            case LoadBalancer():
                del self.balancers[entity.name]
                self.balancers_of[entity.network].discard(entity.name)
                _prune(self.balancers_of, entity.network)
                for backend in entity.backends:
                    self._balancers_via[backend].discard(entity.name)
                    _prune(self._balancers_via, backend)

    def _remove_vm(self, vm: VM) -> None:
        del self.vms[vm.name]
        for address in addresses(vm):
            del self._vm_at[vm.network, address]
        self.vms_of_network[vm.network].discard(vm.name)
        _prune(self.vms_of_network, vm.network)
        for tag in set(vm.tags):
            self._tagged[vm.network, tag].discard(vm.name)
            _prune(self._tagged, (vm.network, tag))
        place = (vm.host, vm.network)
        self._vms_on[place].discard(vm.name)
        if not self._vms_on[place]:
            del self._vms_on[place]
            self._hosts_of[vm.network].discard(vm.host)
            _prune(self._hosts_of, vm.network)
            self._networks_on[vm.host].discard(vm.network)
            _prune(self._networks_on, vm.host)


def addresses(vm: VM) -> tuple[IPv4Address | IPv6Address, ...]:
    """A VM's addresses: IPv4, and IPv6 where it has one."""
    return (vm.ip,) if vm.ip6 is None else (vm.ip, vm.ip6)


def _prune(index: MutableMapping[_K, _C], key: _K) -> None:
    if not index[key]:
        del index[key]
