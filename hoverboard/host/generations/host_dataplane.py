"""What the host process asks of a dataplane generation; the rest of it does not know which one runs."""

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
    """One generation of the dataplane on one host. All calls come from the host's control loop."""

    @property
    def checkpoint_source(self) -> CheckpointSource:
        """What the next process of this host is to know."""

    def report_relayed(self, relayed: bool) -> None:
        """Whether usage() tells of what comes from the fabric and goes back there, too: a Hoverboard's."""

    def limit(self, pps: int | None, bps: int | None) -> None:
        """Take at most so many packets, and bits, a second from the fabric; drop the rest ("over-capacity")."""

    def readers(self) -> dict[int, Callable[[], None]]:
        """Descriptors to poll, and what to call when one is readable. May change after each call."""

    def set_uplink(self, fd: int) -> None:
        """Take the fabric's tap."""

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
        """The VM's vport exists in the switch; carry its packets from now on, at most `rate` bit/s of what it sends.

        Args:
            network: name of the VM's network, for rules about stages.
            vni, addresses: where the VM is to be found, for generations that sort datagrams themselves.

        Raises:
            RunError: this generation cannot limit rates.
        """

    def resume(self, saved: SavedState) -> None:
        """All ports of a process that came after another one are plugged in: go on where that was killed."""

    def switch_back(self) -> None:
        """Open vSwitch was started anew, and has its ports again."""

    def set_rate(self, vm: str, rate: int | None) -> None:
        """From now on, at most `rate` bit/s of what the VM sends; None: no limit.

        Raises:
            RunError: this generation cannot limit rates.
        """

    def detach(self, vm: str) -> None:
        """Carry the VM's packets no more."""

    def usage(self) -> tuple[FlowUsage, ...]:
        """What each VM pair sent into the fabric since the last call; silent pairs are left out."""

    def flows(self) -> list[nodes.Entry]:
        """[{vni, src, dst, proto, kind, via, packets, bytes}] of the flow cache."""

    def counters(self) -> Counters:
        """{rx_packets, rx_bytes, tx_packets, tx_bytes, misses, drops: {reason: n}}."""

    def vms(self) -> dict[str, nodes.NodeVM]:
        """What each VM costs, by name; see FastpathPlane. {} where nobody knows."""

    def table(self) -> dict[str, int]:
        """State of the flow cache: {entries, ...}."""

    @property
    def inspection(self) -> Inspection | None:
        """How to look inside the engines; None where there is none."""

    def rates(self) -> nodes.Rates | None:
        """Rates by port and the busiest flows; None where nobody measures them."""

    def every_second(self, now: float) -> None:
        """Housekeeping."""

    def close(self) -> None:
        """Stop."""
