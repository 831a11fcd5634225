"""The flows of a network on a VM host that all programming models share: tunnel ingress, and the gateway.

Their number does not depend on the number of VMs (paper section 3.3). The IPv6 flows exist only for a network that has
an IPv6 range.
"""

from __future__ import annotations

from collections.abc import Iterator

from controllers.program import Part, block
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import gateway_flows, link_flows, network_flows, vport_flows


def host_network_flows(view: View, network: Network) -> Iterator[Part]:
    """The flows on a host that has a VM of the network."""
    yield block(_ingress, network.vni)
    for subnetwork in view.subnetworks.get(network.name, {}).values():
        yield block(gateway_flows, network.vni, subnetwork.gateway_address)
    if view.speaks_ipv6(network.name):
        yield block(link_flows, network.vni, view.guarded(network.name))


def plugged_flows(view: View, vm: VM) -> Iterator[Part]:
    """The flows on the host of a VM while it is plugged in: the addresses it may send from, and delivery to it."""
    port = view.ports.get(vm.name)
    if port is not None:
        guarded = view.guarded(vm.network)
        yield block(vport_flows, view.networks[vm.network].vni, port, vm.ip, vm.mac, vm.ip6, guarded)


def _ingress(vni: int) -> list[Flow]:
    return network_flows(vni, hoverboard=False)
