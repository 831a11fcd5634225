"""Generation "ovs" (Andromeda 1.0): the VM's NIC is a port of Open vSwitch, which does the tunnels.

The host process forwards nothing here; it reads the switch's own flow cache and counters.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.reports import FlowUsage
from hoverboard.host.peers import Announcements, announcement
from hoverboard.vswitch.counters import ofctl, parse_drops, parse_ports
from hoverboard.vswitch.megaflows import Megaflow, parse_megaflows
from hoverboard.vswitch.ovs import PHYSICAL_BRIDGE, Ovs


class OvsPlane:
    """Reads what Open vSwitch does on one host, and announces the host on the fabric."""

    def __init__(self, switch: Ovs, local_ip: IPv4Address) -> None:
        self._switch = switch
        self._announcement = announcement(local_ip)
        self._announcements = Announcements()
        self._fabric = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._fabric.bind((PHYSICAL_BRIDGE, 0))
        self._seen: dict[tuple[int, int, int], tuple[int, int]] = {}

    def readers(self) -> dict[int, Callable[[], None]]:
        """Nothing to poll."""
        return {}

    def set_uplink(self, fd: int) -> None:
        """Refused: the uplink is a port of br-phy."""
        raise ValueError("dataplane ovs has its uplink as a device in the node's namespace, not as a descriptor")

    def attach(self, vm: str, vport: str, ofport: int, fd: int | None) -> None:
        """Nothing to do: the switch carries the packets."""

    def detach(self, vm: str) -> None:
        """Nothing to do."""

    def _megaflows(self) -> list[Megaflow]:
        return parse_megaflows(self._switch.appctl("dpctl/dump-flows"))

    def usage(self) -> tuple[FlowUsage, ...]:
        """What each VM pair sent into the fabric since the last call.

        The switch forgets idle megaflows and starts them from zero, so a count that went down is new.
        """
        try:
            flows = self._megaflows()
        except SwitchError:
            return ()
        totals: dict[tuple[int, int, int], list[int]] = {}
        for flow in flows:
            if flow.peer is not None and flow.vni is not None and not flow.from_tunnel:
                total = totals.setdefault((flow.vni, int(flow.src), int(flow.dst)), [0, 0])
                total[0] += flow.bytes
                total[1] += flow.packets
        report = []
        for pair, (octets, packets) in totals.items():
            before = self._seen.get(pair, (0, 0))
            if octets < before[0] or packets < before[1]:
                before = (0, 0)
            if packets > before[1]:
                report.append(FlowUsage(*pair, octets - before[0], packets - before[1]))
        self._seen = {pair: (total[0], total[1]) for pair, total in totals.items()}
        return tuple(report)

    def flows(self) -> list[dict[str, Any]]:
        """The datapath's megaflows."""
        return [
            {
                "vni": flow.vni,
                "src": str(flow.src),
                "dst": str(flow.dst),
                "proto": flow.proto,
                "kind": None,
                "via": str(flow.peer) if flow.peer else str(flow.port) if flow.port is not None else None,
                "from": "tunnel" if flow.from_tunnel else "vm",
                "packets": flow.packets,
                "bytes": flow.bytes,
            }
            for flow in self._megaflows()
        ]

    def counters(self) -> dict[str, Any]:
        """The integration bridge's port counters, and its drop flows by reason."""
        return {
            **parse_ports(ofctl("dump-ports", self._switch.management)),
            "misses": 0,
            "drops": parse_drops(ofctl("dump-flows", self._switch.management)),
        }

    def table(self) -> dict[str, int]:
        """State of the datapath's flow cache."""
        return {"entries": len(self._megaflows())}

    def every_second(self, now: float) -> None:
        """Announce the host on the fabric when it is time."""
        if self._announcements.due():
            with contextlib.suppress(OSError):  # br-phy is away while vswitchd restarts
                self._fabric.send(self._announcement)

    def close(self) -> None:
        """Close the socket to the fabric."""
        self._fabric.close()
