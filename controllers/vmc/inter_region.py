"""The share of a global control plane: it knows all regions, and programs the traffic between its region and others.

View, joins and programming models are the same as everywhere. The share keeps their flows for VMs
in other regions on switches of its own region, and marks these flows as global. Each flow key belongs to one scope, and
each scope to one control plane, so two shares never overlap (paper section 3.5). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controllers.program import Block, Part
from controllers.vmc.flow_groups.firewall import firewall_flows
from controllers.vmc.flows.scope_flows import ScopeFlows
from controllers.vmc.view.flow_scopes import BalancerScope, FirewallScope, OffloadScope, RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM
from hoverboard.contract.openflow.shares import global_flow, globally
from hoverboard.contract.reports import UsageReport


class InterRegionShare:
    """The flows on the switches of `region` for VMs in other regions; hosts of the model must not look up or learn.

    Args:
        region: the plane's own region.
    """

    def __init__(self, region: str) -> None:
        self._region = region

    def programs(self, view: View, node: str) -> bool:
        """Whether the node is in the plane's region."""
        return (view.hosts.get(node) or view.hoverboards[node]).region == self._region

    def parts(self, flows: ScopeFlows, switch: str, scope: Scope) -> Iterable[Part]:
        """The scope's flows for VMs in other regions."""
        if isinstance(scope, FirewallScope):
            return self._firewall(flows.view, switch, scope.network)
        if not self._crosses(flows.view, scope):
            return ()
        return [_marked(part) for part in flows.parts(switch, scope)]

    def usage(self, view: View, report: UsageReport) -> UsageReport:
        """The flows of a report that go to another region."""
        found = ((flow, view.vm_at(flow.vni, flow.dst)) for flow in report.flows)
        return replace(
            report, flows=tuple(flow for flow, dst in found if dst is not None and not self._local(view, dst))
        )

    def _local(self, view: View, vm: VM) -> bool:
        return view.hosts[vm.host].region == self._region

    def _crosses(self, view: View, scope: Scope) -> bool:
        """Whether a scope concerns VMs in other regions; if it depends on several VMs, one of them is enough."""
        vms: Iterable[VM] = ()
        match scope:
            case VmScope(vm):
                vms = [view.vms[vm]] if vm in view.vms else ()
            case OffloadScope(src, dst):
                vms = [view.vms[name] for name in (src, dst) if name in view.vms]
            case RouteScope(network, prefix):
                vms = view.next_hops(network, prefix)
            case BalancerScope(balancer) if balancer in view.balancers:
                vms = [view.vms[name] for name in view.balancers[balancer].backends]
            case _:
                pass
        return not all(self._local(view, vm) for vm in vms)

    def _firewall(self, view: View, switch: str, name: str) -> Iterator[Part]:
        """The firewall flows for tagged VMs in other regions; all other firewall flows are regional."""
        if name in view.networks:
            network = view.networks[name]
            local = firewall_flows(view, switch, network, among=lambda vm: self._local(view, vm))
            regional = {flow.key for flow in local}
            for flow in firewall_flows(view, switch, network):
                if flow.key not in regional:
                    yield global_flow(flow)


def _marked(part: Part) -> Part:
    return Block(globally(part.make), part.arguments) if isinstance(part, Block) else global_flow(part)
