"""Fake ports of the coprocessor, and packets for its stages."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import Any

from hoverboard.coprocessor.stage import PLAIN_VNET, Direction, Packet, StageContext

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import ARP, Ether
    from scapy.packet import Raw

__all__ = [
    "ARP", "BEGIN", "HERE", "ICMP", "IP", "TCP", "THERE", "UDP", "Bell", "Clock", "Ether", "IPv6", "Raw", "Sink",
    "Source", "context", "ethernet", "packet",
]  # fmt: skip

HERE, THERE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
START = 1_700_000_000 * 10**9  # nanoseconds since 1970, when the clock was 0
BEGIN = 1_000_003.0  # seconds of the clock


class Clock:
    """Time that passes when it is told to; monotonic and wall clock together."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.wall_offset = 0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> int:
        return START + self.wall_offset + int(self.now * 1e9)


def context(clock: Clock | None = None, *, local: IPv4Address = HERE, number: int = 1, **more: Any) -> StageContext:
    """Of VM web-1 on h1."""
    clock = clock or Clock()
    given: dict[str, Any] = {
        "vm": "web-1", "host": "h1", "local": local, "number": number, "secret": b"a secret of sixteen or more bytes",
        "clock": clock, "wall_clock": clock.wall, **more,
    }  # fmt: skip
    return StageContext(**given)


def ethernet(*layers: Any) -> bytes:
    """A frame from layers, checksums and lengths filled in."""
    frame = Ether(src="06:00:00:00:00:01", dst="06:00:00:00:00:02")
    for layer in layers:
        frame = frame / layer
    return bytes(frame)


def packet(
    frame: bytes,
    direction: Direction = "egress",
    *,
    peer: IPv4Address | None = THERE,
    chain: int = 0,
    ticket: Any = None,
    vnet: bytes = PLAIN_VNET,
    vni: int = 7,
) -> Packet:
    return Packet(bytearray(frame), vnet=vnet, direction=direction, vni=vni, peer=peer, chain=chain, ticket=ticket)


class Source:
    """Packets in a list; `emptied` is called when there is none left."""

    def __init__(self, packets: Iterable[Packet] = ()) -> None:
        self.waiting = deque(packets)

    def take(self, limit: int) -> list[Packet]:
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]


class Sink:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.got: list[Packet] = []

    def give(self, packet: Packet) -> None:
        self.got.append(packet)

    @property
    def tickets(self) -> list[Any]:
        return [packet.ticket for packet in self.got]


class Bell:
    """Counts; never sleeps."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []
        self.armed = False
        self.rung = 0

    def arm(self) -> None:
        self.armed = True

    def wait(self, timeout: float | None) -> None:
        self.waits.append(timeout)

    def disarm(self) -> None:
        self.armed = False

    def ring(self) -> None:
        self.rung += 1


class Reports:
    """Takes a stage's events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        self.events.append(dict(event))
