"""The failover benchmark's figures and bars, without a testbed."""

from __future__ import annotations

import pytest

from benchmarks.failover import bars, figures_of, options, shown


def test_bars_hold_the_longest_against_each_stores_limit() -> None:
    figures = figures_of(
        {"embedded": {"killed": [100.0, 501.0, 90.0], "hangs": [1_300.0]}, "etcd": {"killed": [400.0], "hangs": []}}
    )
    assert [(bar.value, bar.limit, bar.passed) for bar in bars(figures)] == [
        (501.0, 500.0, False),
        (400.0, 2_000.0, True),
    ]
    assert figures["embedded"]["hangs"]["count"] == 1
    assert "hangs" not in figures["etcd"]
    (made,) = shown(figures)
    assert made.row_count == 3


def test_what_is_asked_for_must_be_possible() -> None:
    assert (options([]).rounds, options([]).hangs, options([]).store) == (10, 3, None)
    for wrong in (["--rounds", "0"], ["--hangs", "-1"], ["--store", "zookeeper"]):
        with pytest.raises(SystemExit):
            options(wrong)
