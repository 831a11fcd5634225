"""The scopes that a change affects: their flows have to be computed again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from controllers.vmc.switch_programs import SwitchPrograms
from controllers.vmc.view.flow_scopes import BalancerScope, FirewallScope, NetworkScope, RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Host, LoadBalancer, Network, Route, Subnetwork


def touched_scopes(view: View, entity: AnyEntity) -> tuple[list[Scope], list[str]]:
    """Scopes of an entity of the view; and the VMs whose offloads depend on it."""
    match entity:
        case VM():
            return [VmScope(entity.name), *_routes_via(view, entity.name), *_policy_of(view, entity)], []
        case FirewallRule():
            return [FirewallScope(entity.network)], []
        case LoadBalancer():
            return [BalancerScope(entity.name)], []
        case Route():
            return list(_prefix(view, entity.network, entity.prefix)), []
        case Network():
            # Every flow of the network contains the VNI.
            vms = list(view.vms_of_network.get(entity.name, ()))
            routes: list[Scope] = [RouteScope(entity.name, prefix) for prefix in view.routes.get(entity.name, ())]
            policy: list[Scope] = [BalancerScope(name) for name in view.balancers_of.get(entity.name, ())]
            policy.append(FirewallScope(entity.name))
            return [NetworkScope(entity.name), *(VmScope(vm) for vm in vms), *routes, *policy], vms
        case Subnetwork():
            return [NetworkScope(entity.network), FirewallScope(entity.network)], []
        case Host():
            vms = view.vms_on(entity.name)
            routes = [scope for vm in vms for scope in _routes_via(view, vm)]
            policy = [scope for vm in vms for scope in _policy_of(view, view.vms[vm])]
            return [*(VmScope(vm) for vm in vms), *routes, *policy], vms
        case _:
            return [], []


def _prefix(view: View, network: str, prefix: IPv4Network) -> Iterator[Scope]:
    """The scopes of a prefix whose routes changed: its own, and those of longer prefixes, which are exceptions."""
    yield RouteScope(network, prefix)
    for inside in view.longer(network, prefix):
        yield RouteScope(network, inside)


def _routes_via(view: View, vm: str) -> Iterator[Scope]:
    for network, prefix in view.prefixes_via(vm):
        yield from _prefix(view, network, prefix)


def _policy_of(view: View, vm: VM) -> Iterator[Scope]:
    """The scopes of a VM that changed: rules that name one of its tags, and load balancers with it as a backend."""
    if view.named_by_rules(vm):
        yield FirewallScope(vm.network)
    for name in view.balancers_via(vm.name):
        yield BalancerScope(name)


class FlowMarks:
    """Marks scopes, so that their expected flows are computed again."""

    def __init__(self, view: View, programs: SwitchPrograms) -> None:
        self._view = view
        self._programs = programs

    def scope(self, scope: Scope) -> None:
        """Mark a scope, on all switches where it was or now belongs."""
        self._programs.expected.mark(scope)

    def entities(self, entities: Iterable[AnyEntity]) -> list[str]:
        """Mark the scopes of entities of the view; return the VMs whose offloads depend on them."""
        vms: list[str] = []
        for entity in entities:
            scopes, of_entity = touched_scopes(self._view, entity)
            for scope in scopes:
                self._programs.expected.mark(scope)
            vms += of_entity
        return vms

    def presence(self, host: str, network: str) -> None:
        """Mark what depends on whether a host has VMs of a network."""
        expected = self._programs.expected
        expected.mark(NetworkScope(network), host)
        expected.mark(FirewallScope(network), host)
        for name in self._view.balancers_of.get(network, ()):
            expected.mark(BalancerScope(name), host)
        for model in expected.models:
            for scope in model.arrival(self._view, host, network):
                expected.mark(scope, host)

    def join(self, vm: VM) -> None:
        """Mark what depends on whether a VM is plugged in, on its host."""
        expected = self._programs.expected
        expected.mark(VmScope(vm.name), vm.host)
        for network, prefix in self._view.prefixes_via(vm.name):
            expected.mark(RouteScope(network, prefix), vm.host)
        for name in self._view.balancers_via(vm.name):
            expected.mark(BalancerScope(name), vm.host)

    def gateways(self) -> None:
        """Mark what depends on the set and the addresses of the Hoverboards."""
        for model in self._programs.expected.models:
            for scope in model.gateway_change(self._view):
                self.scope(scope)
        for name in self._view.balancers:
            self.scope(BalancerScope(name))

    def liveness(self) -> None:
        """Mark what depends on which Hoverboards are alive."""
        for model in self._programs.expected.models:
            for scope in model.liveness_change(self._view):
                self.scope(scope)
