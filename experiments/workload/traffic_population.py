"""A population of VM pairs whose rates follow the paper's figure 11c, and its replay through the offload policy. Pure.

The slope of the curve at a rank is the share of traffic of the pair with that rank. The points that were read off the
plot are not quite convex, so the module uses the greatest convex curve below them. Figures 11b and 11c cannot describe
one population (the top pairs of 11b carry too little). This population follows 11c alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings, Pair, Sent
from experiments import paper

THRESHOLD_BPS = 20_000.0
POSSIBLE_PAIRS = 60_000_000  # the paper: about 50,000 offloaded flows are under 0.1 % of the possible ones
TALKING = 0.16  # share of the pairs; the paper: 84 % never talk
_NOISE = 0.1  # sigma of the logarithm of a pair's rate from one report to the next


def papers_curve() -> list[tuple[float, float]]:
    """Figure 11c as (offloaded flows, share of the traffic on Hoverboards), from (0, 1)."""
    curve = paper.curve("11c", "hoverboard share")
    return [(0.0, 1.0), *((x * 1e3, y / 100) for x, y in zip(curve.numbers(), curve.y, strict=True))]


def convex(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The greatest convex curve below `points`, which are in order of x."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) >= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return hull


def shares() -> list[float]:
    """The share of all traffic of each pair, the largest first. The pairs of the tail have the rest."""
    hull = convex(papers_curve())
    found: list[float] = []
    for (x0, y0), (x1, y1) in zip(hull, hull[1:], strict=False):
        count = round(x1) - round(x0)
        found += [(y0 - y1) / count] * count
    return found


def representative_shares(count: int) -> list[float]:
    """The shares of `count` pairs that represent all: the middle ranks of `count` equal parts, scaled to sum 1."""
    every = shares()
    picked = [every[int((number + 0.5) * len(every) / count)] for number in range(count)]
    return [one / sum(picked) for one in picked]


@dataclass(frozen=True, slots=True)
class Replayed:
    """The offloaded pairs at the end, and the share of the last interval's bytes that went over Hoverboards."""

    offloaded: int
    share: float


def replay(draw: random.Random, threshold_bps: float, intervals: int = 3, tail: int = 20_000) -> Replayed:
    """Pass usage reports of the paper's population through the real offload policy.

    The pair of the figure's last rank has the rate of the paper's threshold. Millions of slower pairs share the rest
    of the traffic. The policy sees `tail` of them. The bytes of the others always go over Hoverboards.

    Args:
        draw: the random numbers.
        threshold_bps: the threshold of the policy.
        intervals: the number of report intervals.
        tail: the number of slow pairs that the policy sees.
    """
    of = shares()
    total = THRESHOLD_BPS / of[-1]
    talking = POSSIBLE_PAIRS * TALKING
    slow = total * (1 - sum(of)) / (talking - len(of))
    assert slow < THRESHOLD_BPS / 10
    unseen = slow * (talking - len(of) - tail) / 8
    rates = [total * one for one in of] + [slow] * tail
    pairs = [Pair(f"a{number}", f"b{number}") for number in range(len(rates))]
    policy = OffloadPolicy(OffloadSettings(threshold_bps=threshold_bps))
    relayed = every = 0.0
    for interval in range(intervals):
        sent = [
            Sent(pair, f"h{number % 1000}", int(rate * draw.lognormvariate(0, _NOISE) / 8))
            for number, (pair, rate) in enumerate(zip(pairs, rates, strict=True))
        ]
        relayed = unseen + sum(one.bytes for one in sent if one.pair not in policy.active)
        every = unseen + sum(one.bytes for one in sent)
        if interval < intervals - 1:
            policy.report(sent, 1.0, float(interval + 1))
    return Replayed(len(policy.active), relayed / every)
