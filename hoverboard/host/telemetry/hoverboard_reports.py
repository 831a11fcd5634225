"""A Hoverboard's own usage reports get lost like other packets (paper section 3.3.1).

The paper takes usage from sending hosts, because an overloaded Hoverboard may fail to report. Here a Hoverboard's
reports share its capacity: while it drops packets, each packet of a report is lost with the same probability as any
other packet. Reports of hosts always arrive.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from hoverboard.contract.reports import FlowUsage
from hoverboard.vswitch.meters import OVER_CAPACITY

if TYPE_CHECKING:
    from hoverboard.contract.documents import Counters


_FLOWS_A_PACKET = 30  # FlowUsage messages of about 45 bytes each that fit 1,400 bytes


class CounterSource(Protocol):
    """A dataplane with counters."""

    def counters(self) -> Counters:
        """The counters, with rx_packets and drops by reason."""


class HoverboardReports:
    """Decides whether each report arrives, and counts the decisions.

    Args:
        chance: gives a new random number in [0, 1) at each call.
    """

    def __init__(self, plane: CounterSource, chance: Callable[[], float] = random.random) -> None:
        self._plane = plane
        self._chance = chance
        self._before = (0, 0)
        self.counters = {"sent": 0, "lost": 0}

    def passes(self, flows: Sequence[FlowUsage], relayed: bool) -> bool:
        """Whether the report of this interval reaches the control plane."""
        loss = self._loss() if relayed else 0.0
        packets = -(-len(flows) // _FLOWS_A_PACKET)
        through = all(self._chance() >= loss for _ in range(packets))
        self.counters["sent" if through else "lost"] += 1
        return through

    def _loss(self) -> float:
        """Share of the packets from the fabric that were over the capacity, since the last call."""
        counters = self._plane.counters()
        dropped = int(counters["drops"].get(OVER_CAPACITY, 0))
        came = int(counters["rx_packets"])
        before, self._before = self._before, (dropped, came)
        lost, came = dropped - before[0], came - before[1]
        return lost / max(came, lost, 1)
