"""The bars of the link element. Pure."""

from __future__ import annotations

import math
import statistics
from typing import Any

from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution

DELAY = 0.010  # seconds
LOSS = 0.01
_Z99 = 2.5758  # of the normal distribution: 99 % lie within


def within_chance(lost: int, count: int, share: float) -> float:
    """How far the lost packets are from their expected number, as a part of the 99 % interval of the binomial."""
    return abs(lost - count * share) / (_Z99 * math.sqrt(count * share * (1 - share)))


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The bars of the link element, with the measured values."""
    delayed = distribution(figures["delayed"])
    found = [
        Bar("quiet, delay of 10 ms: how far the median is off", abs(delayed.median - DELAY) * 1e3, 0.5, "<=", "ms"),
        Bar("quiet, delay of 10 ms: p99 above it", (delayed.p99 - DELAY) * 1e3, 1.0, "<=", "ms"),
    ]
    for what, rounds in figures["load"].items():
        cores, arrived, gbps = (statistics.median(one[key] for one in rounds) for key in ("cores", "arrived", "gbps"))
        found.append(Bar(f"{what} at 1 Gbit/s: CPU time", cores, 0.5, "<", "cores"))
        found.append(Bar(f"{what}: offered", gbps, 0.95, ">=", "Gbit/s"))
        found.append(Bar(f"{what}: part that arrived", arrived, 0.999, ">=", ""))
    made = figures["chance"]
    found.append(
        Bar(
            "loss of 1 %: distance from it, in 99 % intervals",
            within_chance(made["lost"], made["packets"], LOSS),
            1,
            "<=",
            "x",
        )
    )
    found.append(Bar("two runs of one seed lose different packets", float(not made["same"]), 0, "<=", ""))
    found.append(Bar("packets out of order with jitter", made["disordered"], 0, "<=", ""))
    return found
