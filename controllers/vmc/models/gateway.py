"""The gateway model: all traffic that leaves a host goes through Hoverboards (paper section 3.3).

A VM costs its own host a few flows, and each Hoverboard one. Other hosts get none, so a host's flows do not grow with
the network. A route costs the hosts of its next hops, and each Hoverboard. Gateways must be sized for the peak; the
models that derive from this one relieve them in different ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from ipaddress import IPv4Network

from typing_extensions import override

from controllers.program import Part, block
from controllers.vmc.flow_groups.network import host_network_flows, plugged_flows
from controllers.vmc.flow_groups.route import delivered_around, next_hop_flows, winner
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.view.flow_scopes import NetworkScope, RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View, addresses
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.openflow.pipeline import (
    default_flow,
    network_flows,
    relay_flow,
    relay_prefix_flow,
    route_prefix_flow,
)


class GatewayModel(ProgrammingModel, shipped="gateway"):
    """A default route on VM hosts, all routes on Hoverboards."""

    @override
    def network_switches(self, view: View, network: str) -> Iterable[str]:
        return view.hosts_of(network) | view.hoverboards.keys()

    @override
    def network_flows(self, view: View, switch: str, network: Network) -> Iterator[Part]:
        if switch in view.hoverboards:
            yield from network_flows(network.vni, hoverboard=True)
        elif view.present(switch, network.name):
            yield from host_network_flows(view, network)
            if view.hoverboards:
                gateway = view.hoverboards[rendezvous(switch, view.gateways())]
                yield block(default_flow, network.vni, gateway.underlay_ip, 4, self.learns)
                if view.speaks_ipv6(network.name):
                    yield block(default_flow, network.vni, gateway.underlay_ip, 6, self.learns)

    @override
    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        return (vm.host, *view.hoverboards)

    @override
    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterator[Part]:
        vni = view.networks[vm.network].vni
        if switch in view.hoverboards:
            # Intent is enough here: the VM's host drops a packet that arrives before the vport exists.
            for address in addresses(vm):
                yield block(relay_flow, vni, address, view.hosts[vm.host].underlay_ip)
        elif switch == vm.host:
            yield from plugged_flows(view, vm)

    @override
    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterator[str]:
        yield from view.hoverboards
        yield from {vm.host for vm in view.next_hops(network, prefix)} | set(delivered_around(view, network, prefix))

    @override
    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterator[Part]:
        first = winner(view, network, prefix)
        underlay = view.hosts[first.host].underlay_ip
        if switch in view.hoverboards:
            yield block(relay_prefix_flow, network.vni, prefix, underlay)
            return
        yield from next_hop_flows(view, switch, network, prefix)
        if first.host != switch and switch in delivered_around(view, network.name, prefix):
            yield block(route_prefix_flow, network.vni, prefix, underlay)

    @override
    def gateway_change(self, view: View) -> Iterator[Scope]:
        for network in view.networks:
            yield NetworkScope(network)
        for vm in view.vms:
            yield VmScope(vm)
        for network, prefixes in view.routes.items():
            for prefix in prefixes:
                yield RouteScope(network, prefix)

    @override
    def liveness_change(self, view: View) -> Iterator[Scope]:
        for network in view.networks:
            yield NetworkScope(network)


def rendezvous(host: str, hoverboards: Iterable[str]) -> str:
    """The Hoverboard of a host, by highest random weight: only the hosts of an added or removed Hoverboard move.

    By host, not by destination: so the default route is one flow per network, as in the paper. A hash of
    (VNI, destination) would need one flow per destination, or a group.
    """
    return max(hoverboards, key=lambda name: (blake2b(f"{host}|{name}".encode(), digest_size=8).digest(), name))
