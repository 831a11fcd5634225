"""Statistics of samples: distributions, paired ratios, the order of turns. Pure.

Contestants take turns, round by round, so that other load on the machine affects all of them. A ratio is the median of
the ratios of the rounds, not the ratio of two medians from different minutes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from experiments.statistics import percentile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Distribution:
    """Order statistics of a sample, in the sample's own unit (`experiments.statistics.percentile`)."""

    count: int
    minimum: float
    median: float
    p90: float
    p99: float
    maximum: float

    def as_dict(self) -> dict[str, float]:
        """The statistics as plain data, for a results file."""
        return asdict(self)


def distribution(values: Sequence[float]) -> Distribution:
    """Order statistics of `values`; raises ValueError when there is no value."""
    if not values:
        raise ValueError("no samples")
    return Distribution(
        len(values),
        min(values),
        percentile(values, 0.5),
        percentile(values, 0.9),
        percentile(values, 0.99),
        max(values),
    )


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over rounds of `over` / `under`, both in the order of rounds.

    Raises:
        ValueError: different numbers of rounds, no rounds, or a sample of `under` that is not positive.
    """
    if len(over) != len(under) or not over:
        raise ValueError(f"{len(over)} rounds over {len(under)}")
    if min(under) <= 0:
        raise ValueError("a ratio needs positive samples below the line")
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def turns(contestants: Sequence[T], rounds: int) -> list[list[T]]:
    """The order of measurements: each contestant once a round; each round begins with the next contestant."""
    count = len(contestants)
    return [[contestants[(start + offset) % count] for offset in range(count)] for start in range(rounds)]
