"""What the parts of a host tell each other: small protocols, given to a part when it is made.

A part that changes something calls the method of its listener, always from the host's control thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Protocol

from hoverboard.contract.packets import Address
from hoverboard.fastpath.packets.flow_table import Key

UsedRoute = tuple[int, Address, IPv4Address]  # VNI, destination, the host that it was sent to


class EntryListener(Protocol):
    """Hears of flow-table entries."""

    def flows_changed(self, keys: Iterable[Key]) -> None:
        """Entries came, went, or have another answer."""


class PeerListener(Protocol):
    """Hears of other hosts."""

    def peer_changed(self, address: IPv4Address) -> None:
        """A peer was met, or takes whole segments from now on."""


class RouteListener(Protocol):
    """Hears what a host that learns routes has to know."""

    def route_wanted(self, vni: int, dst: Address, gateway: IPv4Address) -> None:
        """A packet to `dst` met a default route that says "learn"; it goes by way of `gateway`."""

    def routes_used(self, routes: Iterable[UsedRoute]) -> None:
        """All ways of a report interval, from a dataplane that cannot call `route_wanted`."""

    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        """A datagram of another host's route exchange."""


class NoListener:
    """All listeners in one; does nothing."""

    def flows_changed(self, keys: Iterable[Key]) -> None:
        """See EntryListener."""

    def peer_changed(self, address: IPv4Address) -> None:
        """See PeerListener."""

    def route_wanted(self, vni: int, dst: Address, gateway: IPv4Address) -> None:
        """See RouteListener."""

    def routes_used(self, routes: Iterable[UsedRoute]) -> None:
        """See RouteListener."""

    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        """See RouteListener."""


NO_LISTENER = NoListener()
