"""The switches and the flows of each scope, as the programming model gives them. Pure.

Firewalls and load balancers are the same under every model, except for the node that chooses a backend.
"""

from __future__ import annotations

from collections.abc import Iterable

from controllers.program import Part, block
from controllers.vmc.flow_groups.firewall import firewall_flows
from controllers.vmc.flow_groups.load_balancer import balancer_flows, balancer_switches
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.flow_scopes import (
    BalancerScope,
    BaseScope,
    FirewallScope,
    LookupScope,
    NetworkScope,
    OffloadScope,
    RouteScope,
    Scope,
    VmScope,
)
from controllers.vmc.view.intent import View
from hoverboard.contract.openflow.pipeline import base_flows

_BASE_PARTS = (block(base_flows),)


class ScopeFlows:
    """The flows of all scopes under one programming model.

    Attributes:
        granted: scopes that have flows because of an event, not of the intent: offloaded pairs, and answers to hosts.
    """

    def __init__(self, model: ProgrammingModel, view: View) -> None:
        self.model = model
        self.view = view
        self.granted: set[OffloadScope | LookupScope] = set()

    def switches(self, scope: Scope) -> Iterable[str]:
        """The switches on which a scope belongs now."""
        view = self.view
        match scope:
            case NetworkScope(network) if network in view.networks:
                return self.model.network_switches(view, network)
            case VmScope(vm) if vm in view.vms:
                return self.model.vm_switches(view, view.vms[vm])
            case RouteScope(network, prefix) if prefix in view.routes.get(network, ()):
                return self.model.route_switches(view, network, prefix)
            case OffloadScope(src, _) if src in view.vms:
                return (view.vms[src].host,)
            case LookupScope(host) if scope in self.granted:
                return (host,)
            case FirewallScope(network):
                return view.hosts_of(network)
            case BalancerScope(balancer) if balancer in view.balancers:
                return balancer_switches(view, self.model, view.balancers[balancer])
            case _:
                return ()

    def parts(self, switch: str, scope: Scope) -> Iterable[Part]:
        """The flows of a scope on a switch, as the model's parts."""
        view = self.view
        if isinstance(scope, VmScope):  # nearly all scopes are; `match` would try each case first
            vm = view.vms.get(scope.vm)
            return self.model.vm_flows(view, switch, vm) if vm is not None else ()
        match scope:
            case NetworkScope(network) if network in view.networks:
                return self.model.network_flows(view, switch, view.networks[network])
            case RouteScope(network, prefix) if prefix in view.routes.get(network, ()):
                return self.model.route_flows(view, switch, view.networks[network], prefix)
            case OffloadScope(src, dst) if scope in self.granted and switch == view.vms[src].host:
                return self.model.offload_flows(view, view.vms[src], view.vms[dst])
            case LookupScope(_, network, address) if scope in self.granted:
                return self.model.lookup_flows(view, switch, view.networks[network], address)
            case FirewallScope(network) if network in view.networks:
                return firewall_flows(view, switch, view.networks[network])
            case BalancerScope(balancer) if balancer in view.balancers:
                return balancer_flows(view, self.model, switch, view.balancers[balancer])
            case BaseScope():
                return _BASE_PARTS
            case _:
                return ()
