"""Many concurrent flows between VMs: who sends to whom, how much, and when each datagram is due. Pure.

The same seed gives the same flows and the same datagrams, sample for sample. Rates follow a distribution: figure 11b's
CDF of peak rates over VM pairs, a power law, or one rate for all (an all-to-all burst).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

LEAST_BYTES, MOST_BYTES = 64, 1200  # of a datagram: room for its header, and no fragment anywhere


@dataclass(frozen=True, slots=True)
class TrafficFlow:
    """UDP from one VM to another; `rate_bps` counts the datagrams' bytes alone."""

    src: str
    dst: str
    rate_bps: float


@dataclass(frozen=True, slots=True)
class Datagram:
    """`flow` is a position in the list of flows; `at` seconds from the start; `size` bytes."""

    at: float
    flow: int
    size: int


def pairs(vms: Sequence[str]) -> list[tuple[str, str]]:
    """All ordered pairs of different VMs."""
    return list(permutations(vms, 2))


def from_cdf(
    draw: random.Random, among: Sequence[tuple[str, str]], cdf: Sequence[tuple[float, float]], scale: float = 1.0
) -> list[TrafficFlow]:
    """A rate for each pair by inverting a CDF; pairs that draw no rate above 0 are left out.

    Args:
        cdf: (bit/s, share of pairs at or below it), both growing; what lies below the first share never talks.
        scale: factor on every rate.
    """
    found = []
    for src, dst in among:
        rate = _inverse(cdf, draw.random())
        if rate > 0:
            found.append(TrafficFlow(src, dst, rate * scale))
    return found


def _inverse(cdf: Sequence[tuple[float, float]], share: float) -> float:
    before_rate, before_share = 0.0, cdf[0][1]
    if share <= before_share:
        return 0.0
    for rate, at in cdf[1:]:
        if share <= at:
            return before_rate + (rate - before_rate) * (share - before_share) / (at - before_share)
        before_rate, before_share = rate, at
    return cdf[-1][0]


def burst(among: Sequence[tuple[str, str]], rate_bps: float) -> list[TrafficFlow]:
    """Every pair at the same rate, all at once."""
    return [TrafficFlow(src, dst, rate_bps) for src, dst in among]


def datagram_bytes(rate_bps: float, most: int = MOST_BYTES) -> int:
    """So large that a slow flow still sends ten a second where it can."""
    return max(LEAST_BYTES, min(most, int(rate_bps / 8 / 10)))


def schedule(
    draw: random.Random, flows: Sequence[TrafficFlow], seconds: float, most: int = MOST_BYTES
) -> Iterator[Datagram]:
    """Datagrams in order of time: each flow evenly spaced, from a first one drawn within its first gap."""
    heap: list[tuple[float, int, float, int]] = []
    for number, flow in enumerate(flows):
        size = datagram_bytes(flow.rate_bps, most)
        gap = size * 8 / flow.rate_bps
        heap.append((draw.random() * gap, number, gap, size))
    heapq.heapify(heap)
    while heap:
        at, number, gap, size = heap[0]
        if at >= seconds:
            heapq.heappop(heap)
            continue
        yield Datagram(at, number, size)
        heapq.heapreplace(heap, (at + gap, number, gap, size))
