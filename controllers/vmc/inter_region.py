"""The core of a global control plane: it knows all regions, and programs what crosses from its own to others.

The same view, joins and programming models as everywhere; of the groups of flows that come out only those are kept
that are about VMs elsewhere, on switches of its own region, marked as the global share. A key belongs to one group,
a group to one plane: the two planes' shares never meet (paper section 3.5). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network

from controllers.program import Block, Part
from controllers.vmc.core import ControllerCore
from controllers.vmc.expected import ExpectedFlows
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models.firewall import firewall_flows
from controllers.vmc.offload import OffloadPolicy
from controllers.vmc.view import Scope, View
from hoverboard.contract.entities import VM
from hoverboard.contract.reports import FlowUsage, UsageReport
from hoverboard.contract.shares import global_flow, globally


class InterRegionFlows(ExpectedFlows):
    """What the switches of `region` hold because of VMs in others.

    Args:
        region: the plane's own.
    """

    def __init__(self, model: ProgrammingModel, view: View, region: str) -> None:
        super().__init__(model, view)
        self._region = region

    def under(self, model: ProgrammingModel) -> InterRegionFlows:
        """The same share under another model; it has no switches yet."""
        return InterRegionFlows(model, self._view, self._region)

    def local(self, vm: VM) -> bool:
        """Whether a VM is in the plane's own region."""
        return self._view.hosts[vm.host].region == self._region

    def _parts(self, switch: str, scope: Scope) -> Iterable[Part]:
        if scope.kind == "firewall":
            return self._firewall(switch, scope.name)
        if not self._crosses(scope):
            return ()
        return [_marked(part) for part in super()._parts(switch, scope)]

    def _crosses(self, scope: Scope) -> bool:
        """Whether a group is about VMs elsewhere; what rests on several VMs is to have them all in one region."""
        view = self._view
        vms: Iterable[VM] = ()
        match scope.kind:
            case "vm":
                vms = [view.vms[scope.name]] if scope.name in view.vms else ()
            case "offload":
                vms = [view.vms[name] for name in (scope.name, scope.other) if name in view.vms]
            case "route":
                vms = view.next_hops(scope.name, IPv4Network(scope.other))
            case "balancer" if scope.name in view.balancers:
                vms = [view.vms[name] for name in view.balancers[scope.name].backends]
        return not all(self.local(vm) for vm in vms)

    def _firewall(self, switch: str, name: str) -> Iterator[Part]:
        """What rules that name tags mean by them elsewhere; all else of a firewall is regional."""
        view = self._view
        if name in view.networks:
            network = view.networks[name]
            regional = {flow.key for flow in firewall_flows(view, switch, network, among=self.local)}
            for flow in firewall_flows(view, switch, network):
                if flow.key not in regional:
                    yield global_flow(flow)


def _marked(part: Part) -> Part:
    return Block(globally(part.make), part.arguments) if isinstance(part, Block) else global_flow(part)


class InterRegionCore(ControllerCore):
    """A VM controller of a global control plane.

    Args:
        model, policy: as of any; the model must not let hosts ask or learn.
        region: whose switches it programs.
    """

    def __init__(self, model: ProgrammingModel, policy: OffloadPolicy, region: str) -> None:
        super().__init__(model, policy, self._in_region)
        self._region = region
        self._flows = self.expected = InterRegionFlows(model, self.view, region)

    def _in_region(self, dpid: int) -> bool:
        name = self.names[dpid]
        node = self.view.hosts.get(name) or self.view.hoverboards[name]
        return node.region == self._region

    def usage(self, report: UsageReport, now: float) -> None:
        """One usage report, of which only what crosses is of interest here."""
        super().usage(replace(report, flows=tuple(flow for flow in report.flows if self._crosses(flow))), now)

    def _crosses(self, flow: FlowUsage) -> bool:
        dst = self.view.vm_at(flow.vni, flow.dst)
        return dst is not None and not self._flows.local(dst)
