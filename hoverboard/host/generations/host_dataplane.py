"""The port that every generation of the dataplane implements; the host process knows no more of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from hoverboard.contract.packets import Address
from hoverboard.contract.reports import FlowUsage
from hoverboard.host.checkpointing.checkpoint import CheckpointSource, SavedState
from hoverboard.host.telemetry.inspection import Inspection

if TYPE_CHECKING:
    from hoverboard.contract import node_documents as nodes
    from hoverboard.contract.documents import Counters


class HostDataplane(Protocol):
    """One generation of the dataplane on one host. The host's control thread makes all calls."""

    @property
    def checkpoint_source(self) -> CheckpointSource:
        """Where the checkpoint reads what the next process of this host needs."""

    def report_relayed(self, relayed: bool) -> None:
        """Set whether usage() includes relayed packets: a Hoverboard's, from the fabric and back into it."""

    def limit(self, pps: int | None, bps: int | None) -> None:
        """Accept at most `pps` packets and `bps` bits a second from the fabric; drop the rest ("over-capacity")."""

    def readers(self) -> dict[int, Callable[[], None]]:
        """Descriptors to poll, and the callback of each. The set may change after each call."""

    def set_uplink(self, fd: int) -> None:
        """Take the fabric's tap, in place of an earlier one.

        Raises:
            InputError: the descriptor cannot be used, and the uplink is as before; or the uplink is a device.
        """

    def check_attach(self, vm: str, fd: int | None, rate: int | None) -> None:
        """Check that attach() can carry a VM; the host calls it before it makes the vport.

        Raises:
            InputError: the descriptor is missing, or cannot be used.
            RunError: there is no room for the VM, or this generation cannot limit rates.
        """

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
        """Carry the packets of a VM whose vport exists in the switch; limit what it sends to `rate` bit/s.

        Args:
            vm: name of the VM.
            vport: name of its port in the switch.
            ofport: OpenFlow number of that port.
            fd: descriptor of its tap, of which the dataplane makes a copy; None if the switch carries the packets.
            network: name of the VM's network, for stage rules.
            rate: in bit/s; None: no limit.
            vni: VNI of the network, for generations that sort datagrams themselves.
            addresses: the VM's IP addresses, for the same.

        Raises:
            OSError, HoverboardError: the VM cannot be carried; nothing of it is left.
        """

    def resume(self, saved: SavedState) -> None:
        """Go on where the process before this one was killed; all its ports are plugged in."""

    def switch_back(self) -> None:
        """Go on after Open vSwitch has restarted and has its ports again."""

    def set_rate(self, vm: str, rate: int | None) -> None:
        """Limit what the VM sends to `rate` bit/s from now on; None: no limit.

        Raises:
            RunError: this generation cannot limit rates.
        """

    def detach(self, vm: str) -> None:
        """Stop carrying the VM's packets."""

    def usage(self) -> tuple[FlowUsage, ...]:
        """Packets and bytes that each VM pair sent into the fabric since the last call; silent pairs are left out."""

    def flows(self) -> list[nodes.Entry]:
        """[{vni, src, dst, proto, kind, via, packets, bytes}] of the flow cache."""

    def counters(self) -> Counters:
        """{rx_packets, rx_bytes, tx_packets, tx_bytes, misses, drops: {reason: n}}."""

    def vms(self) -> dict[str, nodes.NodeVM]:
        """CPU time and state of each VM, by name (see FastpathPlane); {} where it is not known."""

    def table(self) -> dict[str, int]:
        """State of the flow cache: {entries, ...}."""

    @property
    def inspection(self) -> Inspection | None:
        """The inspection of the engines; None where there are no engines."""

    def rates(self) -> nodes.Rates | None:
        """Rates by port and the busiest flows; None where they are not measured."""

    def every_second(self, now: float) -> None:
        """Do the housekeeping of a second."""

    def close(self) -> None:
        """Stop the dataplane and close its descriptors."""
