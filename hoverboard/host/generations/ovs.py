"""Generations "ovs" and "ovs-offload" (Andromeda 1.0, 1.5): Open vSwitch carries the packets and makes the tunnels.

A VM's NIC is a port of Open vSwitch. The host process forwards nothing; it reads the switch's megaflows and counters.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.host.checkpointing.checkpoint import CheckpointSource, SavedState
from hoverboard.host.listeners import RouteListener
from hoverboard.host.telemetry import usage
from hoverboard.host.telemetry.switch_usage import SwitchUsage
from hoverboard.host.underlay.datagrams import KernelDatagrams
from hoverboard.host.underlay.peers import Announcements, announcement
from hoverboard.vswitch.counters import drops_by_reason, ofctl, parse_drops, parse_ports
from hoverboard.vswitch.megaflows import Megaflow, parse_megaflows
from hoverboard.vswitch.meters import Meters
from hoverboard.vswitch.ovs import PHYSICAL_BRIDGE, Ovs

if TYPE_CHECKING:
    from hoverboard.contract import node_documents as nodes
    from hoverboard.contract.documents import Counters


class OvsPlane:
    """Reads what Open vSwitch carries on one host, and announces the host on the fabric.

    Args:
        datagrams: the socket of the route exchange; closed with the plane. Datagrams go to `routes`.
        routes: notified, at each usage(), of every route that packets used.
    """

    checkpoint_source = CheckpointSource()  # nothing to save: the switch keeps its flows itself

    def __init__(self, switch: Ovs, local_ip: IPv4Address, datagrams: KernelDatagrams, routes: RouteListener) -> None:
        self._switch = switch
        self._usage = SwitchUsage(self._megaflows, routes)
        self._relayed = False
        self._limits: tuple[int | None, int | None] = (None, None)
        self._capacity = Meters(switch)
        self._announcement = announcement(local_ip)
        self._announcements = Announcements()
        self._fabric = self._listen()
        self._datagrams = datagrams
        self._routes = routes

    def report_relayed(self, relayed: bool) -> None:
        """Set whether usage() includes relayed packets, too."""
        self._relayed = relayed

    def limit(self, pps: int | None, bps: int | None) -> None:
        """Set the capacity of a Hoverboard, kept by meters of the physical bridge."""
        self._limits = (pps, bps)
        self._capacity.set(pps, bps)

    @staticmethod
    def _listen() -> socket.socket:
        """Open a socket on the fabric; it receives nothing while the switch, which owns the device, is down."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with contextlib.suppress(OSError):  # switch_back() opens another
            sock.bind((PHYSICAL_BRIDGE, 0))
        return sock

    def readers(self) -> dict[int, Callable[[], None]]:
        """The socket of the route exchange."""
        return self._datagrams.readers(self._routes.datagram_received)

    def set_uplink(self, fd: int) -> None:
        """Raise InputError: the uplink is a port of br-phy."""
        raise InputError("dataplane ovs has its uplink as a device in the node's namespace, not as a descriptor")

    def check_attach(self, vm: str, fd: int | None, rate: int | None) -> None:
        """Raise RunError for a rate, which nothing would enforce."""
        self.set_rate(vm, rate)

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
        """Do nothing: the switch carries the packets."""

    def set_rate(self, vm: str, rate: int | None) -> None:
        """Raise RunError, except for None (no limit)."""
        if rate:
            raise RunError(
                "dataplane ovs has no rate limits", where=vm, next_step="use dataplane fastpath, or remove the rate"
            )

    def resume(self, saved: SavedState) -> None:
        """Drop what the switch counted until now: it carried the packets all the time, and they are no new usage."""
        self.usage()

    def switch_back(self) -> None:
        """Set the meters and announce the host: the switch has restarted, and its device is new."""
        self._capacity.set(*self._limits)
        self._fabric.close()
        self._fabric = self._listen()
        self._fabric.send(self._announcement)

    def detach(self, vm: str) -> None:
        """Do nothing."""

    def _megaflows(self) -> list[Megaflow]:
        return parse_megaflows(self._switch.appctl("dpctl/dump-flows"))

    def usage(self) -> tuple[FlowUsage, ...]:
        """Packets and bytes that each VM pair sent into the fabric since the last call."""
        return self._usage.usage(self._relayed)

    def flows(self) -> list[nodes.Entry]:
        """The datapath's megaflows."""
        return self._usage.flows()

    def counters(self) -> Counters:
        """The integration bridge's port counters, and packets of its drop flows by reason and by flow."""
        ports, over = parse_ports(ofctl("dump-ports", self._switch.management)), self._capacity.drops()
        ports["rx_packets"] += sum(over.values())  # packets over the capacity arrived, too
        by_flow = parse_drops(ofctl("dump-flows", self._switch.management))
        drops = {**drops_by_reason(by_flow), **over}
        return cast("Counters", {**ports, "misses": 0, "drops": drops, "drops_by_flow": usage.by_flow(by_flow)})

    def vms(self) -> dict[str, nodes.NodeVM]:
        """Empty: the switch's threads serve all VMs together, so that no VM's share is known."""
        return {}

    def table(self) -> dict[str, int]:
        """State of the datapath's flow cache."""
        return {"entries": self._usage.entries()}

    inspection = None  # there is no engine to inspect: tcpdump shows the same on the switch's devices

    def rates(self) -> None:
        """None: the switch has counters, not an engine's arrays."""

    def every_second(self, now: float) -> None:
        """Announce the host on the fabric when it is time."""
        if self._announcements.due():
            with contextlib.suppress(OSError):  # br-phy is missing while vswitchd restarts
                self._fabric.send(self._announcement)

    def close(self) -> None:
        """Close the sockets to the fabric."""
        self._fabric.close()
        self._datagrams.close()
