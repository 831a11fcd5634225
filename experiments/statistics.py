"""The one definition of a percentile, for experiments and benchmarks. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of all values lies, interpolated linearly between the two nearest ranks.

    The ranks of n sorted values are 0 to n - 1. Share 0.9 is rank 0.9 (n - 1), and share 0.5 is the median. This is
    type 7 of Hyndman and Fan (1996), the default of R and NumPy.

    Args:
        values: at least one value, in any order.
        share: 0 gives the least value, 1 the greatest.

    Raises:
        ValueError: `values` is empty, or `share` is below 0 or above 1.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is not a share from 0 to 1")
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
