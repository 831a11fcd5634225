"""Figure 8: what throughput says and draws of made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.throughput import Throughput
from experiments.frame import generation_comparison
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, results, verdicts


def at(streams: int, **by_generation: float) -> list[Sample]:
    """Three samples of each generation, whose median is the value."""
    return [
        one
        for name, value in by_generation.items()
        for one in of("throughput", value / 3, value, 9 * value, generation=name, streams=streams)
    ]


BARE = of("throughput", 8.0, generation=generation_comparison.BARE, streams=200)


@pytest.mark.parametrize(
    ("samples", "order", "gain"),
    [
        (at(200, pre=1, ovs=2, fastpath=16), "reproduced", "reproduced"),
        (at(200, pre=1, ovs=2, fastpath=15.9), "reproduced", "partly"),
        (at(200, pre=1, ovs=0.9, fastpath=7.9), "partly", "not"),
        (at(64, pre=1, ovs=2, fastpath=16), "not measured", "not measured"),
    ],
)
def test_verdicts_are_on_the_most_streams(samples: list[Sample], order: str, gain: str) -> None:
    assert results(Throughput, samples) == [order, gain]


def test_the_words_of_the_verdicts() -> None:
    order, gain = verdicts(Throughput, [*at(200, pre=1, fastpath=16), *BARE])
    assert order.claim == "each version carries more than the last, 200 streams, Gbit/s"
    assert (order.paper, order.ours) == ("pre: 1.7 1.0: 5.6 1.5: 7.5 2.0: 24.4 2.1: 24.7", "pre: 1 fastpath: 16")
    assert (gain.claim, gain.paper) == ("throughput grew 19 times in five years", "19 x (2.2 over pre)")
    assert (gain.ours, gain.ratio) == ("16.0 x (fastpath over pre)", 16 / 19)
    assert "The bar is 16 x. Two VMs joined by a bare veth pair are 8.0 x pre, so no generation" in gain.why


def test_charts_have_the_most_streams_beside_the_paper_and_a_line_for_each_generation() -> None:
    drawn = charts(Throughput, [*at(1, ovs=1, fastpath=3), *at(200, ovs=2, fastpath=8), *BARE])
    beside, over = drawn["generations"], drawn["streams"]
    assert lines(beside)["here"] == [("ovs\n(1.0)", 1.0), ("fastpath\n(2.1)", 4.0)]
    assert lines(beside)["figure 8"] == [("ovs\n(1.0)", 1.0), ("fastpath\n(2.1)", 24.7 / 5.6)]
    assert beside.title == "Throughput by generation, 200 streams"
    assert lines(over) == {"ovs": [(1, 1), (200, 2)], "fastpath": [(1, 3), (200, 8)], "bare veth": [(200, 8)]}
    assert (over.y, over.kind, over.log_x, over.log_y) == ("Gbit/s received", "line", True, True)


def test_points_are_every_generation_and_the_bare_pair_at_each_number_of_streams() -> None:
    points = Throughput().points(given(Throughput, generations=("ovs",), streams=(1, 4)))
    assert [(one["streams"], one["generation"]) for one in points] == [
        (1, "ovs"), (1, "bare veth"), (4, "ovs"), (4, "bare veth"),
    ]  # fmt: skip
