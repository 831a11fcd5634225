"""How samples are summed up: median, quartiles and n; ratios with an interval; straight lines and their R2. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.statistics import percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """Of n values: the median and the quartiles around it."""

    n: int
    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles. ValueError without values."""
    return Spread(len(values), percentile(values, 0.25), percentile(values, 0.5), percentile(values, 0.75))


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two medians and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def ratio(over: Sequence[float], under: Sequence[float], draws: int = 2_000) -> Ratio:
    """Median of `over` by median of `under`; the same for the same values. ValueError without values or of a zero."""
    if min(under, default=0.0) <= 0:
        raise ValueError("a ratio needs values over zero below its line")
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
    """A polynomial through (x, y); ValueError when there are not more points than the power."""
    import numpy as np

    if len(x) != len(y) or len(x) <= power:
        raise ValueError(f"{len(x)} points do not make a curve of power {power}")
    found = np.polyfit(x, y, power)
    rest = np.asarray(y) - np.polyval(found, x)
    around = np.asarray(y) - np.mean(y)
    total = float(around @ around)
    return Fit(tuple(float(one) for one in found), 1.0 - float(rest @ rest) / total if total else 1.0)
