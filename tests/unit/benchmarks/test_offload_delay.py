"""The offload delay's figures and bars, without a testbed."""

from __future__ import annotations

import pytest

from benchmarks.offload_delay import bars, figures_of, options, shown


def test_bars_hold_the_medians_against_both_limits() -> None:
    figures = figures_of({1.0: [100.0, 600.0, 2_000.0], 0.1: [300.0, 260.0, 240.0]})
    assert [(bar.value, bar.limit, bar.passed) for bar in bars(figures)] == [
        (600.0, 1_500.0, True),
        (260.0, 250.0, False),
    ]
    assert figures["0.1"]["count"] == 3
    assert len(shown(figures)) == 1


def test_flows_are_pairs_there_are() -> None:
    assert options([]).flows == 12
    with pytest.raises(SystemExit):
        options(["--flows", "26"])
