"""The Hoverboard model: a default route to a gateway, and offload flows for busy pairs (paper 3.3.1).

What a host holds does not grow with the network, but with what its VMs do: a pair above the usage
threshold goes host to host, the long tail goes through the Hoverboards.
"""

from __future__ import annotations

from collections.abc import Iterator

from controllers.program import Part, block
from controllers.vmc.models.gateway import GatewayModel, rendezvous
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM
from hoverboard.contract.openflow.pipeline import offload_flow

__all__ = ["HoverboardModel", "rendezvous"]


class HoverboardModel(GatewayModel, shipped="hoverboard"):
    """Default route on VM hosts, all routes on Hoverboards, direct flows for pairs worth one."""

    def offload_flows(self, view: View, src: VM, dst: VM) -> Iterator[Part]:
        vni, underlay = view.networks[src.network].vni, view.hosts[dst.host].underlay_ip
        yield block(offload_flow, vni, src.ip, dst.ip, underlay)  # tour: report 7
        if src.ip6 is not None and dst.ip6 is not None:
            yield block(offload_flow, vni, src.ip6, dst.ip6, underlay)
