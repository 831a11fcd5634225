"""Protocols by which the parts of a host notify each other; each part gets its listeners when it is made.

A part that changes something calls the method of its listener, always from the host's control thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Protocol

from typing_extensions import override

from hoverboard.contract.packets import Address
from hoverboard.fastpath.packets.flow_table import Key

UsedRoute = tuple[int, Address, IPv4Address]  # VNI, destination, underlay address of the host that it was sent to


class EntryListener(Protocol):
    """Is notified of changes of the flow table."""

    def flows_changed(self, keys: Iterable[Key]) -> None:
        """Take note of entries that were installed or removed, or have another answer."""


class PeerListener(Protocol):
    """Is notified of other hosts."""

    def peer_changed(self, address: IPv4Address) -> None:
        """Take note of a peer that is new, or takes whole segments from now on."""


class DropListener(Protocol):
    """Is notified of packets that the control thread drops; no element of the engines sees them."""

    def dropped(self, port: int, frame: bytes, reason: str, cookie: int) -> None:
        """Take note of a frame, as it came in by engine port `port`; `cookie` of the flow that dropped it, or 0."""


class RouteListener(Protocol):
    """Is notified of what a host needs for learning routes."""

    def route_wanted(self, vni: int, dst: Address, gateway: IPv4Address) -> None:
        """Take note of a packet to `dst` that goes through `gateway`, by a default route of kind LEARN."""

    def routes_used(self, routes: Iterable[UsedRoute]) -> None:
        """Take all routes used in a report interval, from a dataplane that cannot call `route_wanted`."""

    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        """Take a datagram of the route exchange that arrived from another host."""


class NoListener(EntryListener, PeerListener, DropListener, RouteListener):
    """All listeners in one class; does nothing."""

    @override
    def flows_changed(self, keys: Iterable[Key]) -> None:
        pass

    @override
    def peer_changed(self, address: IPv4Address) -> None:
        pass

    @override
    def dropped(self, port: int, frame: bytes, reason: str, cookie: int) -> None:
        pass

    @override
    def route_wanted(self, vni: int, dst: Address, gateway: IPv4Address) -> None:
        pass

    @override
    def routes_used(self, routes: Iterable[UsedRoute]) -> None:
        pass

    @override
    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        pass


NO_LISTENER = NoListener()
