"""Plans many concurrent flows between VMs: sender, receiver, rate, and the time of each datagram. Pure.

The same seed gives the same flows and the same datagrams. The rates follow a CDF, e.g. figure 11b's CDF of peak rates
over VM pairs, or all flows have one rate (a burst).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

LEAST_BYTES, MOST_BYTES = 64, 1200  # of a datagram: room for its header, and never fragmented


@dataclass(frozen=True, slots=True)
class TrafficFlow:
    """UDP from one VM to another. `rate_bps`: bit/s of UDP payload."""

    src: str
    dst: str
    rate_bps: float


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram of `size` bytes, `at` seconds from the start; `flow`: the position in the list of flows."""

    at: float
    flow: int
    size: int


def pairs(vms: Sequence[str]) -> list[tuple[str, str]]:
    """All ordered pairs of different VMs."""
    return list(permutations(vms, 2))


def from_cdf(
    draw: random.Random, among: Sequence[tuple[str, str]], cdf: Sequence[tuple[float, float]], scale: float = 1.0
) -> list[TrafficFlow]:
    """Flows with rates drawn from a CDF. Pairs whose rate is 0 are left out.

    Args:
        draw: the random numbers.
        among: the pairs.
        cdf: (bit/s, share of pairs at or below it), both increasing. Pairs below the first share never talk.
        scale: a factor on every rate.
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
    """One flow for each pair, all with the same rate."""
    return [TrafficFlow(src, dst, rate_bps) for src, dst in among]


def datagram_bytes(rate_bps: float, most: int = MOST_BYTES) -> int:
    """The size of a flow's datagrams. Slow flows get smaller ones, to send ten a second if possible."""
    return max(LEAST_BYTES, min(most, int(rate_bps / 8 / 10)))


def schedule(
    draw: random.Random, flows: Sequence[TrafficFlow], seconds: float, most: int = MOST_BYTES
) -> Iterator[Datagram]:
    """The datagrams of all flows in order of time.

    The datagrams of a flow are evenly spaced. The first one comes at a random time within the first gap.

    Args:
        draw: the random numbers.
        flows: the flows.
        seconds: the length of the schedule.
        most: the largest size of a datagram in bytes.
    """
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
