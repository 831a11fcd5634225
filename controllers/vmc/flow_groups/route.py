"""The flows of the routes of one prefix that all programming models share (paper section 3.3).

The host of a next hop delivers the prefix, and lets the next hop send from it. The intent decides which route wins.
Joins decide only between delivery and a drop with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from controllers.program import Part, block
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM, Network
from hoverboard.contract.openflow.pipeline import local_prefix_flows, source_prefix_flows


def winner(view: View, network: Network, prefix: IPv4Network) -> VM:
    """The winning next hop of a prefix that is routed."""
    vm = view.winner(network.name, prefix)
    if vm is None:
        raise LookupError(f"{prefix} is not routed in network {network.name}")
    return vm


def delivered_around(view: View, network: str, prefix: IPv4Network) -> Iterator[str]:
    """Hosts that deliver a shorter prefix around this one: there, the longer prefix needs its own flow."""
    for around in view.shorter(network, prefix):
        vm = view.winner(network, around)
        if vm is not None:
            yield vm.host


def next_hop_flows(view: View, host: str, network: Network, prefix: IPv4Network) -> Iterator[Part]:
    """The flows on a VM host: sources of its next hops, and delivery if the winner is one of them."""
    guarded = view.guarded(network.name)
    for vm in view.next_hops(network.name, prefix):
        if vm.host == host and vm.name in view.ports:
            yield block(source_prefix_flows, network.vni, view.ports[vm.name], vm.mac, prefix, guarded)
    first = winner(view, network, prefix)
    if first.host == host:
        yield block(local_prefix_flows, network.vni, prefix, view.ports.get(first.name), first.mac, guarded)
