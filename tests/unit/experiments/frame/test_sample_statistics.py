"""Spreads, ratios and fits against values that are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.frame.sample_statistics import Fit, Ratio, Spread, fit, ratio, spread


@pytest.mark.parametrize("of", [lambda: spread([]), lambda: ratio([], [1.0])])
def test_no_values_have_no_percentile(of: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="no values"):
        of()


def test_a_spread_is_the_median_between_the_quartiles() -> None:
    assert spread([8.0, 2.0, 4.0]) == Spread(n=3, low=3.0, median=4.0, high=6.0)
    assert spread([5.0]) == Spread(1, 5.0, 5.0, 5.0)


def test_a_ratio_is_of_medians_and_its_interval_that_of_medians_drawn_again() -> None:
    # Of seven values drawn again, the median is 1 in 1 % of the draws, at most 2 in 11 %; so for 7 and 6.
    assert ratio([3.0, 1, 5, 2, 7, 6, 4], [0.5]) == Ratio(value=8.0, low=4.0, high=12.0)
    # Of three, it is the least in 26 %, the greatest in 26 %: both at once in 7 %.
    assert ratio([2.0, 4, 6], [1.0, 2, 3]) == Ratio(2.0, pytest.approx(2 / 3), 6.0)


def test_a_ratio_is_the_same_for_the_same_values() -> None:
    over, under = [1 + number**0.5 for number in range(20)], [1 + number**0.3 for number in range(20)]
    assert ratio(over, under) == ratio(over, under)


@pytest.mark.parametrize("under", [[], [0.0, 1.0], [-1.0, 1.0]])
def test_every_value_of_a_ratio_s_denominator_is_above_zero(under: list[float]) -> None:
    with pytest.raises(ValueError, match="denominator must be above 0"):
        ratio([1.0], under)


def test_r2_is_the_share_of_the_variance_that_a_line_explains() -> None:
    # The line is 0.8 x + 1.3: residuals 0.3, 0.9, 0.9, 0.3, whose squares are 1.8; around the mean they are 5.
    found = fit([0, 1, 2, 3], [1, 3, 2, 4])
    assert found.coefficients == pytest.approx((0.8, 1.3))
    assert found.r2 == pytest.approx(1 - 1.8 / 5)


def test_r2_of_values_that_do_not_differ_is_one() -> None:
    assert fit([1, 2, 3], [4, 4, 4]) == Fit(pytest.approx((0, 4), abs=1e-12), 1.0)


def test_a_parabola_goes_through_three_points_with_its_highest_power_first() -> None:
    found = fit([0, 1, 2], [1, 2, 9], 2)
    assert found.coefficients == pytest.approx((3, -2, 1))
    assert found.r2 == pytest.approx(1)


@pytest.mark.parametrize(("x", "y", "power"), [([1, 2], [1, 2], 2), ([1], [1], 1), ([1, 2, 3], [1, 2], 1)])
def test_a_curve_needs_more_points_than_its_power(x: list[float], y: list[float], power: int) -> None:
    with pytest.raises(ValueError, match=f"{len(x)} points do not make a curve of power {power}"):
        fit(x, y, power)
