"""Samples in, figures out: distributions, paired ratios, turns, bars."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution, paired_ratio, turns

samples = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50)


def test_distribution_of_known_samples() -> None:
    found = distribution([float(number) for number in range(200, 0, -1)])
    assert found.as_dict() == {
        "count": 200, "minimum": 1.0, "median": 100.5, "maximum": 200.0,
        "p90": pytest.approx(180.1), "p99": pytest.approx(198.01),
    }  # fmt: skip


@given(samples)
def test_order_statistics_are_in_order(values: list[float]) -> None:
    found = distribution(values)
    order = [found.minimum, found.median, found.p90, found.p99, found.maximum]
    assert order == sorted(order)
    assert (found.count, found.minimum, found.maximum) == (len(values), min(values), max(values))


def test_no_samples_have_no_distribution() -> None:
    with pytest.raises(ValueError, match="no samples"):
        distribution([])


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine was half as fast in the second round, for both: the ratio does not care.
    assert paired_ratio([10.0, 5.0, 10.0], [2.0, 1.0, 2.0]) == 5.0
    # One bad round does not decide.
    assert paired_ratio([10.0, 10.0, 0.1], [2.0, 2.0, 2.0]) == 5.0


@given(samples)
def test_equal_contestants_have_ratio_one(values: list[float]) -> None:
    assert paired_ratio(values, values) == 1.0


@pytest.mark.parametrize(("over", "under"), [([1.0], [1.0, 2.0]), ([], []), ([1.0], [0.0]), ([1.0, 1.0], [1.0, -1.0])])
def test_no_ratio(over: list[float], under: list[float]) -> None:
    with pytest.raises(ValueError, match="ratio|rounds"):
        paired_ratio(over, under)


def test_each_round_begins_with_the_next_contestant() -> None:
    assert turns("abc", 4) == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


@given(st.integers(1, 5), st.integers(0, 12))
def test_each_contestant_has_one_turn_a_round(count: int, rounds: int) -> None:
    order = turns(list(range(count)), rounds)
    assert len(order) == rounds
    assert all(sorted(one) == list(range(count)) for one in order)
    # No one begins more than once more often than another.
    first = Counter(one[0] for one in order)
    assert rounds < count or max(first.values()) - min(first.values()) <= 1


@pytest.mark.parametrize(
    ("value", "limit", "sense", "passed"),
    [
        (8.0, 8.0, ">=", True), (7.9, 8.0, ">=", False),
        (100.0, 100.0, "<", False), (99.9, 100.0, "<", True),
        (0.0, 0.0, "<=", True), (1.0, 0.0, "<=", False),
        (math.nan, 8.0, ">=", False), (math.nan, 8.0, "<", False),
    ],
)  # fmt: skip
def test_bars(value: float, limit: float, sense: str, passed: bool) -> None:
    bar = Bar("it", value, limit, sense, "x")  # type: ignore[arg-type]
    assert bar.passed is passed
    assert bar.as_dict()["passed"] is passed
