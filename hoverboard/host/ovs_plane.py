"""Generations "ovs" and "ovs-offload" (Andromeda 1.0, 1.5): Open vSwitch carries the packets and does the tunnels.

A VM's NIC is a port of it. The host process forwards nothing here; it reads the switch's own flow cache and counters.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from hoverboard.contract.errors import RunError, SwitchError
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.host.checkpoint import Saved
from hoverboard.host.datagrams import KernelDatagrams, underlay_socket
from hoverboard.host.peers import Announcements, announcement
from hoverboard.host.plane import Carried, Learn
from hoverboard.vswitch.counters import ofctl, parse_drops, parse_ports
from hoverboard.vswitch.megaflows import Megaflow, parse_megaflows
from hoverboard.vswitch.meters import Meters
from hoverboard.vswitch.ovs import PHYSICAL_BRIDGE, Ovs

if TYPE_CHECKING:
    from hoverboard.contract import node_documents as nodes
    from hoverboard.contract.documents import Counters


class OvsPlane:
    """Reads what Open vSwitch does on one host, and announces the host on the fabric."""

    _carried: Carried | None = None
    _relayed = False
    _limits: tuple[int | None, int | None] = (None, None)

    def __init__(self, switch: Ovs, local_ip: IPv4Address) -> None:
        self._switch = switch
        self._capacity = Meters(switch)
        self._announcement = announcement(local_ip)
        self._announcements = Announcements()
        self._fabric = self._listen()
        self.datagrams = KernelDatagrams(underlay_socket(local_ip))
        self._seen: dict[str, tuple[int, int]] = {}  # megaflow's match -> bytes, packets

    def follow(self, learn: Learn, carried: Carried) -> None:
        """The switch's flow cache tells, with each usage()."""
        self._carried = carried

    def tell_relayed(self, relayed: bool) -> None:
        """Whether usage() tells of what is relayed, too."""
        self._relayed = relayed

    def limit(self, pps: int | None, bps: int | None) -> None:
        """The capacity of a Hoverboard, kept by meters of the physical bridge."""
        self._limits = (pps, bps)
        self._capacity.set(pps, bps)

    @staticmethod
    def _listen() -> socket.socket:
        """A socket on the fabric; one that hears nothing while the switch, whose device it is, is away."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with contextlib.suppress(OSError):  # switch_back() makes another
            sock.bind((PHYSICAL_BRIDGE, 0))
        return sock

    def readers(self) -> dict[int, Callable[[], None]]:
        """The route exchange's socket."""
        return self.datagrams.readers()

    def set_uplink(self, fd: int) -> None:
        """Refused: the uplink is a port of br-phy."""
        raise ValueError("dataplane ovs has its uplink as a device in the node's namespace, not as a descriptor")

    def attach(
        self,
        vm: str,
        vport: str,
        ofport: int,
        fd: int | None,
        *,
        network: str = "",
        rate: int | None = None,
        vni: int = 0,
        addresses: tuple[Address, ...] = (),
    ) -> None:
        """Nothing to do: the switch carries the packets. A rate is refused: nothing would enforce it."""
        self.set_rate(vm, rate)

    def set_rate(self, vm: str, rate: int | None) -> None:
        """Refused, but for no limit."""
        if rate:
            raise RunError(
                "dataplane ovs has no rate limits", where=vm, next_step="use dataplane fastpath, or remove the rate"
            )

    def resume(self, saved: Saved) -> None:
        """The switch has carried the packets all the time; what it has counted until now is not news."""
        self.usage()

    def switch_back(self) -> None:
        """Its device is new: say where the host is."""
        self._capacity.set(*self._limits)
        self._fabric.close()
        self._fabric = self._listen()
        self._fabric.send(self._announcement)

    def detach(self, vm: str) -> None:
        """Nothing to do."""

    def _megaflows(self) -> list[Megaflow]:
        return parse_megaflows(self._switch.appctl("dpctl/dump-flows"))

    def usage(self) -> tuple[FlowUsage, ...]:
        """What each VM pair sent into the fabric since the last call.

        Counted flow by flow, not pair by pair: the switch forgets an idle megaflow, and a pair's sum that
        went down for that would be taken for new traffic. A single count that went down is a new flow.
        """
        try:
            flows = self._megaflows()
        except SwitchError:
            return ()
        seen = self._seen
        pairs: dict[tuple[int, Address, Address], list[int]] = {}
        self._seen = {}
        for flow in flows:
            if flow.peer is None or flow.vni is None or (flow.from_tunnel and not self._relayed):
                continue
            before = seen.get(flow.match, (0, 0))
            if flow.bytes < before[0] or flow.packets < before[1]:
                before = (0, 0)
            self._seen[flow.match] = (flow.bytes, flow.packets)
            if flow.packets > before[1]:
                pair = pairs.setdefault((flow.vni, flow.src, flow.dst), [0, 0])
                pair[0] += flow.bytes - before[0]
                pair[1] += flow.packets - before[1]
        if self._carried is not None:
            self._carried(
                [(flow.vni, flow.dst, flow.peer) for flow in flows if flow.vni and flow.peer and not flow.from_tunnel]
            )
        return tuple(FlowUsage(*pair, octets, packets) for pair, (octets, packets) in pairs.items())

    def flows(self) -> list[nodes.Entry]:
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
                "now": True,
                "packets": flow.packets,
                "bytes": flow.bytes,
            }
            for flow in self._megaflows()
        ]

    def counters(self) -> Counters:
        """The integration bridge's port counters, and its drop flows by reason."""
        ports, over = parse_ports(ofctl("dump-ports", self._switch.management)), self._capacity.drops()
        ports["rx_packets"] += sum(over.values())  # what its capacity did not suffice for came, too
        drops = {**parse_drops(ofctl("dump-flows", self._switch.management)), **over}
        return cast("Counters", {**ports, "misses": 0, "drops": drops})

    def vms(self) -> dict[str, nodes.NodeVM]:
        """Not known: the switch's threads serve all VMs alike."""
        return {}

    def table(self) -> dict[str, int]:
        """State of the datapath's flow cache."""
        return {"entries": len(self._megaflows())}

    looking = None  # there is no engine to look into: tcpdump shows the same on the switch's devices

    def rates(self) -> None:
        """None: the switch has counters, not an engine's arrays."""

    def every_second(self, now: float) -> None:
        """Announce the host on the fabric when it is time."""
        if self._announcements.due():
            with contextlib.suppress(OSError):  # br-phy is away while vswitchd restarts
                self._fabric.send(self._announcement)

    def close(self) -> None:
        """Close the sockets to the fabric."""
        self._fabric.close()
        self.datagrams.close()
