"""Which groups of flows an entity is about: what has to be computed again when it comes, changes or goes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from controllers.vmc.view import Scope, View
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Host, LoadBalancer, Network, Route, Subnetwork


def touched_scopes(view: View, entity: AnyEntity) -> tuple[list[Scope], list[str]]:
    """Scopes of an entity that is in the view; and VMs whose offloads rest on it."""
    match entity:
        case VM():
            return [Scope("vm", entity.name), *_routes_via(view, entity.name), *_policy_of(view, entity)], []
        case FirewallRule():
            return [Scope("firewall", entity.network)], []
        case LoadBalancer():
            return [Scope("balancer", entity.name)], []
        case Route():
            return list(_prefix(view, entity.network, entity.prefix)), []
        case Network():
            # The VNI stands in every flow of the network.
            vms = list(view.vms_of_network.get(entity.name, ()))
            routes = [Scope("route", entity.name, str(prefix)) for prefix in view.routes.get(entity.name, ())]
            policy = [Scope("balancer", name) for name in view.balancers_of.get(entity.name, ())]
            policy.append(Scope("firewall", entity.name))
            return [Scope("network", entity.name), *(Scope("vm", vm) for vm in vms), *routes, *policy], vms
        case Subnetwork():
            return [Scope("network", entity.network), Scope("firewall", entity.network)], []
        case Host():
            vms = view.vms_on(entity.name)
            routes = [scope for vm in vms for scope in _routes_via(view, vm)]
            policy = [scope for vm in vms for scope in _policy_of(view, view.vms[vm])]
            return [*(Scope("vm", vm) for vm in vms), *routes, *policy], vms
        case _:
            return [], []


def _prefix(view: View, network: str, prefix: IPv4Network) -> Iterator[Scope]:
    """Routes of a prefix changed: so do the exceptions to them that a longer prefix makes."""
    yield Scope("route", network, str(prefix))
    for inside in view.longer(network, prefix):
        yield Scope("route", network, str(inside))


def _routes_via(view: View, vm: str) -> Iterator[Scope]:
    for network, prefix in view.prefixes_via(vm):
        yield from _prefix(view, network, prefix)


def _policy_of(view: View, vm: VM) -> Iterator[Scope]:
    """A VM changed: so do the rules that name it by a tag, and the load balancers that it stands behind."""
    if view.named_by_rules(vm):
        yield Scope("firewall", vm.network)
    for name in view.balancers_via(vm.name):
        yield Scope("balancer", name)
