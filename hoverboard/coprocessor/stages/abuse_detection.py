"""Abuse detection: finds a VM that scans ports, sprays addresses or opens connections too fast (paper section 4.4).

In a window it counts distinct destinations (address and port) that the VM contacts first, and TCP connection attempts.
It stores no more destinations than the limit plus one. It raises an alarm and may throttle: then it drops packets to
new destinations, while known destinations stay reachable. It knows the clients that contacted the VM first only if it
sees both directions. A TCP packet with ACK is always an answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import override

from hoverboard.coprocessor import headers
from hoverboard.coprocessor.headers import ACK
from hoverboard.coprocessor.stage import ConfiguredStage, Packet, StageConfig

THROTTLED = "abuse-throttled"
_CLIENTS_FACTOR = 4  # clients of a server VM that are stored, as a multiple of the limit of destinations


class AbuseConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        destinations: distinct (address, port) pairs that are allowed in a window.
        syns: TCP connection attempts that are allowed in a window.
        window: seconds.
        action: "report" raises an alarm; "throttle" also drops packets to new destinations and new connections.
        throttle_seconds: duration of the throttling.
    """

    destinations: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    syns: Annotated[int, Field(ge=1)] = 512
    window: Annotated[float, Field(gt=0)] = 10.0
    action: Literal["report", "throttle"] = "report"
    throttle_seconds: Annotated[float, Field(ge=0)] = 60.0


Destination = tuple[bytes, int, int]  # address, protocol, port


class AbuseDetection(ConfiguredStage[AbuseConfig]):
    """Counts the destinations of egress packets."""

    name = "abuse-detection"
    Config = AbuseConfig

    @override
    def setup(self) -> None:
        self._begin = self.context.clock()
        # Destinations of this window and of the previous one: a scan that crosses a window's end is still recognized.
        self._destinations: set[Destination] = set()
        self._destinations_before: set[Destination] = set()
        # Clients that contacted the VM first, (address, protocol, port): a packet back to one is an answer.
        self._clients: set[Destination] = set()
        self._clients_before: set[Destination] = set()
        self._syns = self._alarms = self._throttled = 0
        self._reported: set[str] = set()
        self._throttled_until = float("-inf")

    def statistics(self) -> dict[str, Any]:
        """Distinct destinations and connection attempts of this window, alarms, packets dropped."""
        return {
            "destinations": len(self._destinations), "syns": self._syns, "alarms": self._alarms,
            "throttled": self._throttled,
        }  # fmt: skip

    def process(self, batch: list[Packet]) -> list[Packet]:
        """All packets; while throttled, only packets to known destinations."""
        now = self.context.clock()
        if now - self._begin >= self.config.window:
            self._turn(now)
        return [packet for packet in batch if self._passes(packet, now)]

    def _turn(self, now: float) -> None:
        recent = now - self._begin < 2 * self.config.window
        self._destinations_before, self._destinations = (self._destinations if recent else set()), set()
        self._clients_before, self._clients = (self._clients if recent else set()), set()
        self._syns = 0
        self._reported.clear()
        self._begin = now

    def _passes(self, packet: Packet, now: float) -> bool:
        header = headers.read(packet.frame)
        if header is None:
            return True
        if packet.direction == "ingress":
            if len(self._clients) < _CLIENTS_FACTOR * self.config.destinations:
                self._clients.add((header.source, header.protocol, header.source_port))
            return True
        # Ports are 0 but for UDP and TCP: a ping's destination is its address.
        destination = (header.destination, header.protocol, header.destination_port)
        if header.tcp_flags & ACK or destination in self._clients or destination in self._clients_before:
            return True  # an answer, or a connection that is already established
        known = destination in self._destinations or destination in self._destinations_before
        if now < self._throttled_until and (not known or header.connects):
            packet.drop(THROTTLED)
            self._throttled += 1
            return False
        if header.connects:
            self._syns += 1
            if self._syns > self.config.syns:
                self._alarm("syn-rate", now, syns=self._syns)
        # One destination more than the limit is enough to raise the alarm, and to see its shape.
        if destination not in self._destinations and len(self._destinations) <= self.config.destinations:
            self._destinations.add(destination)
            if len(self._destinations) > self.config.destinations:
                self._alarm(self._shape(), now, destinations=len(self._destinations))
        return True

    def _shape(self) -> str:
        """The kind of alarm: "port-scan" if most destinations are ports of one address, else "spray"."""
        [(_, most)] = Counter(address for address, _, _ in self._destinations).most_common(1)
        return "port-scan" if most > len(self._destinations) // 2 else "spray"

    def _alarm(self, what: str, now: float, **figures: int) -> None:
        if what in self._reported:
            return
        self._reported.add(what)
        self._alarms += 1
        if self.config.action == "throttle":
            self._throttled_until = now + self.config.throttle_seconds
        self.context.report(
            {
                "alarm": what,
                "vm": self.context.vm,
                **figures,
                "window_seconds": self.config.window,
                "throttled_seconds": self.config.throttle_seconds if self.config.action == "throttle" else 0.0,
            }
        )
