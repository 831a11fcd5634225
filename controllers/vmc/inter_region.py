"""The share of a global control plane: it knows all regions, and programs what crosses from its own to others.

The same view, joins and programming models as everywhere; of the groups of flows that come out only those are kept
that are about VMs elsewhere, on switches of its own region, marked as the global share. A key belongs to one group,
a group to one plane: the two planes' shares never meet (paper section 3.5). Pure.
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
    """What the switches of `region` hold because of VMs in others; the model must not let hosts ask or learn.

    Args:
        region: the plane's own.
    """

    def __init__(self, region: str) -> None:
        self._region = region

    def programs(self, view: View, node: str) -> bool:
        """The switches of its own region."""
        return (view.hosts.get(node) or view.hoverboards[node]).region == self._region

    def parts(self, flows: ScopeFlows, switch: str, scope: Scope) -> Iterable[Part]:
        """Flows because of VMs elsewhere."""
        if isinstance(scope, FirewallScope):
            return self._firewall(flows.view, switch, scope.network)
        if not self._crosses(flows.view, scope):
            return ()
        return [_marked(part) for part in flows.parts(switch, scope)]

    def usage(self, view: View, report: UsageReport) -> UsageReport:
        """Only what is sent to another region."""
        found = ((flow, view.vm_at(flow.vni, flow.dst)) for flow in report.flows)
        return replace(
            report, flows=tuple(flow for flow, dst in found if dst is not None and not self._local(view, dst))
        )

    def _local(self, view: View, vm: VM) -> bool:
        return view.hosts[vm.host].region == self._region

    def _crosses(self, view: View, scope: Scope) -> bool:
        """Whether a group is about VMs elsewhere; what rests on several VMs is to have them all in one region."""
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
        """What rules that name tags mean by them elsewhere; all else of a firewall is regional."""
        if name in view.networks:
            network = view.networks[name]
            local = firewall_flows(view, switch, network, among=lambda vm: self._local(view, vm))
            regional = {flow.key for flow in local}
            for flow in firewall_flows(view, switch, network):
                if flow.key not in regional:
                    yield global_flow(flow)


def _marked(part: Part) -> Part:
    return Block(globally(part.make), part.arguments) if isinstance(part, Block) else global_flow(part)
