"""Figure 10: what CPU per byte says and draws of made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.cpu import Cpu
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, results, verdicts


def at(side: str = "total", **by_generation: float) -> list[Sample]:
    """Three samples of each generation, whose median is the value."""
    return [
        one
        for name, value in by_generation.items()
        for one in of("CPU time", value / 2, value, 9 * value, generation=name, side=side)
    ]


@pytest.mark.parametrize(
    ("samples", "order", "gain"),
    [
        (at(pre=16, ovs=8, fastpath=1), "reproduced", "reproduced"),
        (at(pre=15.9, ovs=8, fastpath=1), "reproduced", "partly"),
        (at(pre=7.9, ovs=8, fastpath=1), "partly", "not"),
        (at("host", pre=16, ovs=8, fastpath=1), "not measured", "not measured"),
    ],
)
def test_verdicts_are_on_both_sides_together(samples: list[Sample], order: str, gain: str) -> None:
    assert results(Cpu, samples) == [order, gain]


def test_the_words_of_the_verdicts() -> None:
    order, gain = verdicts(Cpu, at(pre=16, fastpath=1))
    assert order.claim == "each version takes less CPU per byte (paper: cycles/byte; here: s/GB)"
    assert (order.paper, order.ours) == ("pre: 112.9 1.0: 59.3 1.5: 42.3 2.0: 10.7 2.1: 7.6", "pre: 16 fastpath: 1")
    assert (gain.claim, gain.paper) == ("CPU per byte fell to a sixteenth", "16 x (2.2 over pre)")
    assert (gain.ours, gain.ratio) == ("16.0 x (fastpath over pre)", 1.0)


def test_charts_tell_hosts_from_guests() -> None:
    drawn = charts(Cpu, [*at("host", fastpath=3, ovs=6), *at("guest", ovs=2), *at(ovs=8, fastpath=4)])
    assert lines(drawn["relative"])["here"] == [("ovs\n(1.0)", 1.0), ("fastpath\n(2.1)", 0.5)]
    assert lines(drawn["relative"])["figure 10"] == [("ovs\n(1.0)", 1.0), ("fastpath\n(2.1)", 7.6 / 59.3)]
    sides = drawn["sides"]
    assert lines(sides) == {
        "host": [("ovs", 6), ("fastpath", 3)],
        "guest": [("ovs", 2)],
        "total": [("ovs", 8), ("fastpath", 4)],
    }
    assert [(one.n, one.low, one.high) for one in sides.series[1].spreads] == [(3, 1.5, 10.0)]
    assert (sides.y, sides.kind, sides.log_y) == ("CPU seconds per 10^9 bytes", "bars", True)
    assert "softirqs included" in sides.note


def test_points_are_the_generations() -> None:
    assert Cpu().points(given(Cpu, generations=("pre", "ovs"))) == [{"generation": "pre"}, {"generation": "ovs"}]
