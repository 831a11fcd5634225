"""The routes benchmark's figures, its bar and its check, without a switch."""

from __future__ import annotations

import pytest

from benchmarks.routes import FRONT_END, OFCTL, bars, check_same, figures_of, options, shown
from hoverboard.contract.errors import MeasurementError

FLOWS = "table=0 actions=drop\ntable=1 actions=drop\n"


def test_the_ratio_is_that_of_rounds() -> None:
    figures = figures_of(100, 108, {FRONT_END: [2.0, 9.0, 4.0], OFCTL: [1.0, 3.0, 1.0]})
    (bar,) = bars(figures)
    assert (bar.value, bar.limit, bar.passed) == (3.0, 3.0, False)
    assert figures["ratio_of_medians"] == 4.0
    assert list(shown(figures)[0].columns[0].cells) == [FRONT_END, OFCTL]


def test_switches_that_differ_are_no_measurement() -> None:
    check_same(FLOWS, FLOWS, OFCTL)
    with pytest.raises(MeasurementError, match="holds 1 flows where 2 should be; 1 differ, the first: table=1"):
        check_same(FLOWS, FLOWS.splitlines(keepends=True)[0], OFCTL)


def test_options() -> None:
    given = options([])
    assert (given.routes, given.rounds) == (100_000, 5)
    assert options(["--quick"]).routes < 10_000
    assert options(["--quick", "--rounds", "3"]).rounds == 3
    with pytest.raises(SystemExit):
        options(["--routes", "0"])
