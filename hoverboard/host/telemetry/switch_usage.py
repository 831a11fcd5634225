"""Usage by VM pair, and flows, from Open vSwitch's own flow cache (paper 3.3.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.host.listeners import RouteListener
from hoverboard.vswitch.megaflows import Megaflow

if TYPE_CHECKING:
    from hoverboard.contract import node_documents as nodes


class SwitchUsage:
    """Usage and flows of the flow cache of one switch.

    Args:
        megaflows: all flows of the cache now; SwitchError when the switch is down.
        routes: notified, at each usage(), of every route that packets of VMs used.
    """

    def __init__(self, megaflows: Callable[[], list[Megaflow]], routes: RouteListener) -> None:
        self._megaflows = megaflows
        self._routes = routes
        self._seen: dict[str, tuple[int, int]] = {}  # megaflow's match -> bytes, packets

    def usage(self, relayed: bool = False) -> tuple[FlowUsage, ...]:
        """Packets and bytes that each VM pair sent into the fabric since the last call.

        Counted flow by flow, not pair by pair: the switch forgets an idle megaflow, and the smaller sum of the pair
        would look like new traffic. If the count of one flow goes down, it is a new flow.

        Args:
            relayed: include packets that came from the fabric and went back into it.
        """
        try:
            flows = self._megaflows()
        except SwitchError:
            return ()
        seen = self._seen
        pairs: dict[tuple[int, Address, Address], list[int]] = {}
        self._seen = {}
        for flow in flows:
            if flow.peer is None or flow.vni is None or (flow.from_tunnel and not relayed):
                continue
            before = seen.get(flow.match, (0, 0))
            if flow.bytes < before[0] or flow.packets < before[1]:
                before = (0, 0)
            self._seen[flow.match] = (flow.bytes, flow.packets)
            if flow.packets > before[1]:
                pair = pairs.setdefault((flow.vni, flow.src, flow.dst), [0, 0])
                pair[0] += flow.bytes - before[0]
                pair[1] += flow.packets - before[1]
        self._routes.routes_used(
            [(flow.vni, flow.dst, flow.peer) for flow in flows if flow.vni and flow.peer and not flow.from_tunnel]
        )
        return tuple(FlowUsage(*pair, octets, packets) for pair, (octets, packets) in pairs.items())

    def flows(self) -> list[nodes.Entry]:
        """The rows of `hoverboard flows NODE` (see HostDataplane.flows)."""
        return [
            {
                "vni": flow.vni,
                "src": str(flow.src),
                "dst": str(flow.dst),
                "proto": flow.proto,
                "ports": flow.ports,
                "sender": flow.sender,
                "more": flow.more,
                "cookie": None,
                "kind": None,
                "via": str(flow.peer) if flow.peer else str(flow.port) if flow.port is not None else None,
                "from": "tunnel" if flow.from_tunnel else "vm",
                "now": True,
                "packets": flow.packets,
                "bytes": flow.bytes,
            }
            for flow in self._megaflows()
        ]

    def entries(self) -> int:
        """Number of flows in the cache."""
        return len(self._megaflows())
