"""The Hoverboard model: a default route to a gateway, and offload flows for busy pairs (paper 3.3.1).

The flows of a host do not grow with the network, but with its VMs' traffic. A pair above the usage threshold uses the
direct path; all other pairs go through the Hoverboards.
"""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from controllers.program import Part, block
from controllers.vmc.models.gateway import GatewayModel, rendezvous
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import VM
from hoverboard.contract.openflow.pipeline import offload_flow

__all__ = ["HoverboardModel", "rendezvous"]


class HoverboardModel(GatewayModel, shipped="hoverboard"):
    """A default route on VM hosts, all routes on Hoverboards, direct paths for busy pairs."""

    @override
    def offload_flows(self, view: View, src: VM, dst: VM) -> Iterator[Part]:
        vni, underlay = view.networks[src.network].vni, view.hosts[dst.host].underlay_ip
        yield block(offload_flow, vni, src.ip, dst.ip, underlay)  # tour: report 7
        if src.ip6 is not None and dst.ip6 is not None:
            yield block(offload_flow, vni, src.ip6, dst.ip6, underlay)
