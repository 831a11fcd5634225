"""Abuse detection: a VM that scans ports, sprays addresses or opens connections too fast (paper section 4.4).

It counts distinct destinations (address and port) that the VM speaks to first, and TCP connection
attempts, in a window, and needs no more memory than its own limit: beyond it the answer is known.
It reports, and may throttle: then destinations that are already known go on, new ones are dropped.
Who else spoke first is known only where it sees both directions; TCP with ACK is always an answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from hoverboard.coprocessor import headers
from hoverboard.coprocessor.headers import ACK
from hoverboard.coprocessor.stage import ConfiguredStage, Packet, StageConfig

THROTTLED = "abuse-throttled"
_CLIENTS_FACTOR = 4  # times the limit of destinations: clients that a server VM may have and still be known to answer


class AbuseConfig(StageConfig):
    """Keys of the configuration.

    Attributes:
        destinations: distinct (address, port) pairs in a window that are still no abuse.
        syns: TCP connection attempts in a window that are still none.
        window: seconds.
        action: "report" raises an alarm; "throttle" also drops new destinations and connections.
        throttle_seconds: for how long.
    """

    destinations: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    syns: Annotated[int, Field(ge=1)] = 512
    window: Annotated[float, Field(gt=0)] = 10.0
    action: Literal["report", "throttle"] = "report"
    throttle_seconds: Annotated[float, Field(ge=0)] = 60.0


Destination = tuple[bytes, int, int]  # address, protocol, port


class AbuseDetection(ConfiguredStage[AbuseConfig]):
    """Watches the destinations of egress packets."""

    name = "abuse-detection"
    Config = AbuseConfig

    def setup(self) -> None:
        self._begin = self.context.clock()
        # Of this window and the one before: a scan does not start afresh in the eyes of a clock's tick.
        self._destinations: set[Destination] = set()
        self._destinations_before: set[Destination] = set()
        # Who spoke to the VM first, (address, protocol, port): what goes back there is an answer.
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
        """Everything, or while throttled what goes to known destinations."""
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
            return True  # an answer, or a connection that stands
        known = destination in self._destinations or destination in self._destinations_before
        if now < self._throttled_until and (not known or header.connects):
            packet.drop(THROTTLED)
            self._throttled += 1
            return False
        if header.connects:
            self._syns += 1
            if self._syns > self.config.syns:
                self._alarm("syn-rate", now, syns=self._syns)
        # One more than allowed is enough to know, and to say what it looks like.
        if destination not in self._destinations and len(self._destinations) <= self.config.destinations:
            self._destinations.add(destination)
            if len(self._destinations) > self.config.destinations:
                self._alarm(self._shape(), now, destinations=len(self._destinations))
        return True

    def _shape(self) -> str:
        """A scan is mostly one address's ports, a spray mostly different addresses."""
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
