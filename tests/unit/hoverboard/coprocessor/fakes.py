"""Fake ports of the coprocessor, and packets for its stages."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from hoverboard.coprocessor.stage import Packet
from hoverboard.testing.stages import BEGIN, HERE, THERE, Clock, context, packet

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


def ethernet(*layers: Any) -> bytes:
    """A frame from layers, checksums and lengths filled in."""
    frame = Ether(src="06:00:00:00:00:01", dst="06:00:00:00:00:02")
    for layer in layers:
        frame = frame / layer
    return bytes(frame)


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


def altered(frame: bytes, at: int, value: bytes) -> bytes:
    """`frame` with other bytes at `at`; scapy takes its time, and stages do not look at checksums."""
    return frame[:at] + value + frame[at + len(value) :]
