"""The Hoverboard model: a default route to a gateway, and offload flows for busy pairs (paper 3.3.1).

A VM costs its own host a few flows and each Hoverboard one; no other host hears of it, so what a
host holds does not grow with the network. A Route costs the hosts of its next hops and each Hoverboard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from ipaddress import IPv4Network
from typing import ClassVar

from controllers.program import Part, block
from controllers.vmc.models.networks import host_network_flows
from controllers.vmc.models.routes import next_hop_flows, winner
from controllers.vmc.view import Scope, View, addresses
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.pipeline import (
    default_flow,
    network_flows,
    offload_flow,
    relay_flow,
    relay_prefix_flow,
    route_prefix_flow,
    vport_flows,
)


class HoverboardModel:
    """Default route on VM hosts, all routes on Hoverboards, direct flows for pairs worth one."""

    name: ClassVar[str] = "hoverboard"
    offloads: ClassVar[bool] = True

    def network_switches(self, view: View, network: str) -> Iterable[str]:
        return view.hosts_of(network) | view.hoverboards.keys()

    def network_flows(self, view: View, switch: str, network: Network) -> Iterator[Part]:
        if switch in view.hoverboards:
            yield from network_flows(network.vni, hoverboard=True)
        elif view.present(switch, network.name):
            yield from host_network_flows(view, network)
            if view.hoverboards:
                gateway = view.hoverboards[rendezvous(switch, view.hoverboards)]
                yield block(default_flow, network.vni, gateway.underlay_ip)
                if view.speaks_ipv6(network.name):
                    yield block(default_flow, network.vni, gateway.underlay_ip, 6)

    def vm_switches(self, view: View, vm: VM) -> Iterable[str]:
        return (vm.host, *view.hoverboards)

    def vm_flows(self, view: View, switch: str, vm: VM) -> Iterator[Part]:
        vni = view.networks[vm.network].vni
        if switch in view.hoverboards:
            # Intent is enough here: a packet that comes before the VM's vport is dropped by its host.
            for address in addresses(vm):
                yield block(relay_flow, vni, address, view.hosts[vm.host].underlay_ip)
        elif switch == vm.host and vm.name in view.ports:
            yield block(vport_flows, vni, view.ports[vm.name], vm.ip, vm.mac, vm.ip6)

    def route_switches(self, view: View, network: str, prefix: IPv4Network) -> Iterator[str]:
        yield from view.hoverboards
        yield from {vm.host for vm in view.next_hops(network, prefix)} | set(_inside(view, network, prefix))

    def route_flows(self, view: View, switch: str, network: Network, prefix: IPv4Network) -> Iterator[Part]:
        first = winner(view, network, prefix)
        underlay = view.hosts[first.host].underlay_ip
        if switch in view.hoverboards:
            yield block(relay_prefix_flow, network.vni, prefix, underlay)
            return
        yield from next_hop_flows(view, switch, network, prefix)
        if first.host != switch and switch in _inside(view, network.name, prefix):
            yield block(route_prefix_flow, network.vni, prefix, underlay)

    def offload_flows(self, view: View, src: VM, dst: VM) -> Iterator[Part]:
        vni, underlay = view.networks[src.network].vni, view.hosts[dst.host].underlay_ip
        yield block(offload_flow, vni, src.ip, dst.ip, underlay)
        if src.ip6 is not None and dst.ip6 is not None:
            yield block(offload_flow, vni, src.ip6, dst.ip6, underlay)

    def arrival(self, view: View, host: str, network: str) -> Iterable[Scope]:
        return ()

    def gateway_change(self, view: View) -> Iterator[Scope]:
        for network in view.networks:
            yield Scope("network", network)
        for vm in view.vms:
            yield Scope("vm", vm)
        for network, prefixes in view.routes.items():
            for prefix in prefixes:
                yield Scope("route", network, str(prefix))


def _inside(view: View, network: str, prefix: IPv4Network) -> Iterator[str]:
    """Hosts that deliver a shorter prefix around this one: without a flow of its own it would win there."""
    for around in view.shorter(network, prefix):
        vm = view.winner(network, around)
        if vm is not None:
            yield vm.host


def rendezvous(host: str, hoverboards: Iterable[str]) -> str:
    """The Hoverboard of a host: highest random weight, so that one that goes or comes moves only its share."""
    return max(hoverboards, key=lambda name: (blake2b(f"{host}|{name}".encode(), digest_size=8).digest(), name))
