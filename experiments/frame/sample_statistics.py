"""Summaries of samples: median and quartiles, ratios with an interval, polynomial fits with their R2. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.statistics import percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of n values, with the lower quartile (`low`) and the upper one (`high`)."""

    n: int
    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The median and quartiles of values. ValueError: there are no values."""
    return Spread(len(values), percentile(values, 0.25), percentile(values, 0.5), percentile(values, 0.75))


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two medians and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def ratio(over: Sequence[float], under: Sequence[float], draws: int = 2_000) -> Ratio:
    """The median of `over` divided by the median of `under`. The same values always give the same interval.

    Raises:
        ValueError: `under` is empty, or has a value that is not above 0.
    """
    if min(under, default=0.0) <= 0:
        raise ValueError("every value of the denominator must be above 0")
    dice = random.Random(1)

    def drawn(values: Sequence[float]) -> float:
        return percentile(dice.choices(values, k=len(values)), 0.5)

    found = [drawn(over) / drawn(under) for _ in range(draws)]
    return Ratio(percentile(over, 0.5) / percentile(under, 0.5), percentile(found, 0.025), percentile(found, 0.975))


@dataclass(frozen=True, slots=True)
class Fit:
    """A least-squares polynomial: coefficients with the highest power first, and its R2."""

    coefficients: tuple[float, ...]
    r2: float


def fit(x: Sequence[float], y: Sequence[float], power: int = 1) -> Fit:
    """The polynomial of degree `power` that fits (x, y) best. ValueError: there are not more points than `power`."""
    import numpy as np

    if len(x) != len(y) or len(x) <= power:
        raise ValueError(f"{len(x)} points do not make a curve of power {power}")
    found = np.polyfit(x, y, power)
    rest = np.asarray(y) - np.polyval(found, x)
    around = np.asarray(y) - np.mean(y)
    total = float(around @ around)
    return Fit(tuple(float(one) for one in found), 1.0 - float(rest @ rest) / total if total else 1.0)
