"""The preprogrammed model: every host knows every VM of its networks (paper section 3.3).

A full mesh: each host with a VM of a network has one route to each VM of it, O(VMs x hosts). Hoverboards relay nothing
and have no routes; they only drop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from typing_extensions import override

from controllers.program import Part, block
from controllers.vmc.flow_groups.network import host_network_flows, plugged_flows
from controllers.vmc.flow_groups.route import next_hop_flows, winner
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.flow_scopes import RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View, addresses
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.openflow.pipeline import route_flow, route_prefix_flow


class PreprogrammedModel(ProgrammingModel, shipped="preprogrammed"):
    """Routes to all VMs of a network on all hosts that have one."""

    @override
    def network_switches(self, view: View, network: str) -> Iterable[str]:
        return view.hosts_of(network)

    @override
    def network_flows(self, view: View, switch: str, network: Network) -> Iterator[Part]:
        if view.present(switch, network.name):
            yield from host_network_flows(view, network)

    @override
    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        return view.hosts_of(vm.network)

    @override
    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterator[Part]:
        vni = view.networks[vm.network].vni
        if switch == vm.host:
            yield from plugged_flows(view, vm)
        elif view.present(switch, vm.network):
            for address in addresses(vm):
                yield block(route_flow, vni, address, view.hosts[vm.host].underlay_ip)

    @override
    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterable[str]:
        return view.hosts_of(network)

    @override
    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterator[Part]:
        first = winner(view, network, prefix)
        yield from next_hop_flows(view, switch, network, prefix)
        if first.host != switch and view.present(switch, network.name):
            yield block(route_prefix_flow, network.vni, prefix, view.hosts[first.host].underlay_ip)

    @override
    def arrival(self, view: View, host: str, network: str) -> Iterator[Scope]:
        for vm in view.vms_of_network.get(network, ()):
            yield VmScope(vm)
        for prefix in view.routes.get(network, ()):
            yield RouteScope(network, prefix)
