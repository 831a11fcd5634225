"""Percentiles against values that are worked out by hand, and against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.statistics import percentile

samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@pytest.mark.parametrize(("share", "value"), [(0.0, 10), (0.25, 17.5), (0.5, 25), (0.9, 51), (0.99, 59.1), (1.0, 60)])
def test_a_percentile_lies_between_its_two_nearest_ranks(share: float, value: float) -> None:
    # Of four sorted values the ranks are 0 to 3: share 0.9 is rank 2.7, and 51 is 30 and seven tenths of 30.
    assert percentile([60.0, 10.0, 30.0, 20.0], share) == pytest.approx(value)


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], share) for share in (0.0, 0.5, 1.0)] == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("values", "share", "words"),
    [([], 0.5, "no values"), ([1.0], -0.1, "is not a share"), ([1.0], 99, "is not a share")],
)
def test_no_percentile(values: list[float], share: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        percentile(values, share)


@given(samples, st.floats(0, 1))
def test_it_is_what_numpy_calls_linear(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(np.percentile(values, 100 * share)), rel=1e-9, abs=1e-6)


@given(samples, st.floats(0, 1), st.floats(0, 1))
def test_a_greater_share_is_no_smaller_value(values: list[float], one: float, other: float) -> None:
    low, high = percentile(values, min(one, other)), percentile(values, max(one, other))
    assert min(values) <= low
    assert low <= high or low == pytest.approx(high)
    assert high <= max(values) or high == pytest.approx(max(values))
