"""The checks of the fabric manager's store: does an entity fit the others (paper section 3.1)?

They read the index and change nothing. A request adds its entities to the index first, then checks them here. No I/O.
"""

from __future__ import annotations

from controllers.fm.index import FabricIndex, entity_where, key_of
from controllers.fm.rejections import check_ip6, in_use, is_gateway, overlap, rate_rejected
from hoverboard.contract.checks.similar_names import similar
from hoverboard.contract.encapsulation import GATEWAY_MAC
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


class IntentChecks:
    """The references and addresses of an index of entities."""

    def __init__(self, index: FabricIndex) -> None:
        self._index = index

    def check(self, entity: AnyEntity) -> None:
        """Check that an entity of the index fits the others.

        Raises:
            EntityError: it does not.
        """
        match entity:
            case Subnetwork():
                self._check_subnetwork(entity)
            case VM():
                self._check_vm(entity)
            case Route():
                self._check_route(entity)
            case FirewallRule():
                self._network_of(entity)
            case LoadBalancer():
                self._check_balancer(entity)
            case Network() if entity.rate_bps:
                raise rate_rejected(entity)
            case Network() | Host() | Hoverboard():
                pass

    def _network_of(self, entity: Subnetwork | VM | Route | FirewallRule | LoadBalancer) -> None:
        if ("Network", entity.network) not in self._index.entities:
            raise EntityError(
                f"network {entity.network!r} does not exist",
                where=entity_where(entity, "network"),
                next_step="add the Network in the same request, or name an existing one",
            )

    def _check_subnetwork(self, subnetwork: Subnetwork) -> None:
        self._network_of(subnetwork)
        for other in self._index.subnetworks.get(subnetwork.network, {}).values():
            if other.name == subnetwork.name:
                continue
            one6, two6 = subnetwork.prefix6, other.prefix6
            if other.prefix.overlaps(subnetwork.prefix):
                raise overlap(subnetwork, "prefix", subnetwork.prefix, other.prefix, other)
            if one6 is not None and two6 is not None and one6.overlaps(two6):
                raise overlap(subnetwork, "prefix6", one6, two6, other)
        for route in self._index.routes_of_network.get(subnetwork.network, {}).values():
            if route.prefix.overlaps(subnetwork.prefix):
                raise EntityError(
                    f"{subnetwork.prefix} overlaps {route.prefix} of Route {route.name!r}"
                    f" in network {subnetwork.network!r}",
                    where=entity_where(subnetwork, "prefix"),
                    next_step="remove the Route before or in the same request, or choose another prefix",
                )
        if subnetwork.gateway_address in (subnetwork.prefix.network_address, subnetwork.prefix.broadcast_address):
            raise EntityError(
                f"gateway {subnetwork.gateway_address} is the network or broadcast address of {subnetwork.prefix}",
                where=entity_where(subnetwork, "gateway"),
                next_step="choose an address in between",
            )
        holder = self._index.vm_by_address.get((subnetwork.network, subnetwork.gateway_address))
        if holder is not None:
            raise is_gateway(holder, holder.ip, subnetwork)

    def _check_vm(self, vm: VM) -> None:
        self._network_of(vm)
        if vm.rate_bps:
            raise rate_rejected(vm)
        if ("Host", vm.host) not in self._index.entities:
            a_hoverboard = ("Hoverboard", vm.host) in self._index.entities
            raise EntityError(
                f"{vm.host!r} is a Hoverboard, not a VM host" if a_hoverboard else f"host {vm.host!r} does not exist",
                where=entity_where(vm, "host"),
                next_step="add the Host in the same request, or name an existing one",
            )
        if vm.mac == GATEWAY_MAC:
            raise EntityError(
                f"{vm.mac} is the MAC of every network's gateway",
                where=entity_where(vm, "mac"),
                next_step="choose another MAC",
            )
        self._check_address(vm)

    def _check_address(self, vm: VM | LoadBalancer) -> None:
        subnetworks = self._index.subnetworks.get(vm.network, {}).values()
        home = next((subnetwork for subnetwork in subnetworks if vm.ip in subnetwork.prefix), None)
        if home is None:
            raise EntityError(
                f"{vm.ip} is in no subnetwork of network {vm.network!r}",
                where=entity_where(vm, "ip"),
                next_step="use an address of "
                + (", ".join(str(subnetwork.prefix) for subnetwork in subnetworks) or "a Subnetwork, and add one"),
            )
        if vm.ip == home.gateway_address:
            raise is_gateway(vm, vm.ip, home)
        if vm.ip in (home.prefix.network_address, home.prefix.broadcast_address):
            raise EntityError(
                f"{vm.ip} is the network or broadcast address of {home.prefix}",
                where=entity_where(vm, "ip"),
                next_step="choose an address in between",
            )
        if isinstance(vm, VM) and vm.ip6 is not None:
            check_ip6(vm, vm.ip6, home)

    def _check_route(self, route: Route) -> None:
        self._network_of(route)
        for subnetwork in self._index.subnetworks.get(route.network, {}).values():
            if route.prefix.overlaps(subnetwork.prefix):
                raise EntityError(
                    f"{route.prefix} overlaps {subnetwork.prefix} of Subnetwork {subnetwork.name!r}"
                    f" in network {route.network!r}",
                    where=entity_where(route, "prefix"),
                    next_step="choose a prefix outside the subnetworks: a route must not contain VMs' addresses",
                )
        self._check_next_hop(route)

    def _check_next_hop(self, route: Route) -> None:
        vm = self._index.entities.get(("VM", route.next_hop))
        if not isinstance(vm, VM) or vm.network != route.network:
            raise EntityError(
                f"{route.next_hop!r} is a VM of network {vm.network!r}, not of {route.network!r}"
                if isinstance(vm, VM)
                else f"VM {route.next_hop!r} does not exist",
                where=entity_where(route, "next_hop"),
                next_step=self._vm_step(route.next_hop, route.network),
            )

    def _vm_step(self, name: str, network: str) -> str:
        """The next step for the name of a VM that the network does not have."""
        close = similar(name, self._index.vms_of_network.get(network, ()))
        guess = "" if close is None else f"did you mean {close!r}? "
        return f"{guess}name a VM of network {network!r}, added in the same request or before"

    def _check_balancer(self, balancer: LoadBalancer) -> None:
        self._network_of(balancer)
        self._check_address(balancer)
        for name in balancer.backends:
            vm = self._index.entities.get(("VM", name))
            if not isinstance(vm, VM) or vm.network != balancer.network:
                raise EntityError(
                    f"{name!r} is a VM of network {vm.network!r}, not of {balancer.network!r}"
                    if isinstance(vm, VM)
                    else f"VM {name!r} does not exist",
                    where=entity_where(balancer, "backends"),
                    next_step=self._vm_step(name, balancer.network),
                )

    def check_references_to(self, old: AnyEntity) -> None:
        """Check that everything that refers to `old`, which was removed or changed, is still valid.

        Raises:
            EntityError: something is not.
        """
        index = self._index
        match old:
            case Network():
                if key_of(old) in index.entities:
                    return
                left: list[AnyEntity] = [
                    *index.subnetworks.get(old.name, {}).values(),
                    *index.vms_of_network.get(old.name, {}).values(),
                    *index.routes_of_network.get(old.name, {}).values(),
                    *index.rules_of_network.get(old.name, {}).values(),
                    *index.balancers_of_network.get(old.name, {}).values(),
                ]
                if left:
                    raise in_use(old, left)
            case Host():
                left_vms = list(index.vms_of_host.get(old.name, {}).values())
                if left_vms and key_of(old) not in index.entities:
                    raise in_use(old, left_vms)
            case VM():
                routes = list(index.routes_of_next_hop.get(old.name, {}).values())
                balancers = list(index.balancers_of_backend.get(old.name, {}).values())
                if (routes or balancers) and key_of(old) not in index.entities:
                    raise in_use(old, [*routes, *balancers])
                for route in routes:
                    self._check_next_hop(route)
                for balancer in balancers:
                    self._check_balancer(balancer)
            case Subnetwork():
                now = index.subnetworks.get(old.network, {}).get(old.name)
                if now is not None and (now.prefix, now.prefix6) == (old.prefix, old.prefix6):
                    return
                for vm in index.vms_of_network.get(old.network, {}).values():
                    if vm.ip in old.prefix:
                        self._check_address(vm)
                for balancer in index.balancers_of_network.get(old.network, {}).values():
                    self._check_address(balancer)
            case _:
                pass
