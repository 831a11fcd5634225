"""The on-demand model: a host knows its own VMs, and looks all others up at the controller (paper 3.3).

The first packet to an address goes to the controller. It answers with a direct route, or with a drop if the address
does not exist. Hoverboards relay nothing. The model scales better than a full mesh, but every new address needs the
controller. The paper describes the outage that this caused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from typing_extensions import override

from controllers.program import Part, block
from controllers.vmc.flow_groups.network import host_network_flows, plugged_flows
from controllers.vmc.flow_groups.route import delivered_around, next_hop_flows, winner
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.openflow.pipeline import punt_flow, route_flow, route_prefix_flow, unknown_flow


class OnDemandModel(ProgrammingModel, shipped="on-demand"):
    """Local delivery, answers to lookups, and a lookup for everything else."""

    @override
    def network_switches(self, view: View, network: str) -> Iterable[str]:
        return view.hosts_of(network)

    @override
    def network_flows(self, view: View, switch: str, network: Network) -> Iterator[Part]:
        if view.present(switch, network.name):
            yield from host_network_flows(view, network)
            yield block(punt_flow, network.vni)
            if view.speaks_ipv6(network.name):
                yield block(punt_flow, network.vni, 6)

    @override
    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        return (vm.host,)

    @override
    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterator[Part]:
        if switch == vm.host:
            yield from plugged_flows(view, vm)

    @override
    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterable[str]:
        return {vm.host for vm in view.next_hops(network, prefix)} | set(delivered_around(view, network, prefix))

    @override
    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterator[Part]:
        first = winner(view, network, prefix)
        yield from next_hop_flows(view, switch, network, prefix)
        if first.host != switch and switch in delivered_around(view, network.name, prefix):
            yield block(route_prefix_flow, network.vni, prefix, view.hosts[first.host].underlay_ip)

    @override
    def lookup_flows(
        self, view: View, host: str, network: Network, address: IPv4Address | IPv6Address
    ) -> Iterator[Part]:
        there = view.vm_at(network.vni, address) or _routed_to(view, network, address)
        if there is None:
            yield block(unknown_flow, network.vni, address)
        elif there.host != host:
            yield block(route_flow, network.vni, address, view.hosts[there.host].underlay_ip)
        elif there.name not in view.ports:
            yield block(unknown_flow, network.vni, address)


def _routed_to(view: View, network: Network, address: IPv4Address | IPv6Address) -> VM | None:
    """The next hop of the longest prefix that contains an address; None if no prefix does."""
    covering = [prefix for prefix in view.routes.get(network.name, ()) if address in prefix]
    return winner(view, network, max(covering, key=lambda prefix: prefix.prefixlen)) if covering else None
