"""Figure 9: what latency says and draws of made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.latency import Latency
from experiments.frame import generation_comparison
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, results, verdicts


def at(cpus: str, metric: str = "mean", **by_generation: float) -> list[Sample]:
    """Three samples of each generation, whose median is the value."""
    return [
        one
        for name, value in by_generation.items()
        for one in of(metric, value / 3, value, 9 * value, generation=name.replace("_", "-"), cpus=cpus)
    ]


@pytest.mark.parametrize(
    ("samples", "order", "gain", "since"),
    [
        (at("awake", pre=70, ovs=50, fastpath=10), "reproduced", "reproduced", "reproduced"),
        (at("awake", pre=69, ovs=49, fastpath=10), "reproduced", "partly", "partly"),
        (at("awake", pre=35, ovs=25, fastpath=10), "reproduced", "partly", "partly"),
        (at("awake", pre=34, ovs=24, fastpath=10), "reproduced", "not", "not"),
        (at("awake", pre=40, ovs=50, fastpath=10), "partly", "partly", "reproduced"),
        (at("awake", pre=5, ovs=9, fastpath=10), "not", "not", "not"),
        (at("awake", pre=70, fastpath=10), "reproduced", "reproduced", "not measured"),
        ([], "not measured", "not measured", "not measured"),
    ],
)
def test_verdicts(samples: list[Sample], order: str, gain: str, since: str) -> None:
    assert results(Latency, samples, cpus=("awake",)) == [order, gain, since]
    assert results(Latency, samples) == ["not measured"] * 3 + [order, gain, since]  # halting first, which was not


def test_the_words_of_the_verdicts() -> None:
    bare = of("mean", 12, generation=generation_comparison.BARE, cpus="halting")
    found = verdicts(Latency, [*at("halting", pre=60, ovs=50, fastpath=10), *bare], cpus=("halting",))
    assert [one.claim for one in found] == [
        "the versions' order in mean round trip, us (CPUs halting)",
        "the round trip became 7 times shorter (CPUs halting)",
        "and nearly as much since 1.0 (CPUs halting)",
    ]
    assert [one.ours for one in found] == [
        "pre: 60 ovs: 50 fastpath: 10", "6.0 x (fastpath over pre)", "5.0 x (fastpath over ovs)",
    ]  # fmt: skip
    assert found[0].paper.startswith("pre: 265.9 1.0: 249.1")
    assert [one.paper for one in found[1:]] == ["7 x (2.2 over pre)", "6.9 x (2.2 over 1.0)"]
    assert [one.ratio for one in found[1:]] == [6 / 7, 5 / 6.9]
    assert "bar is 7 x. Two VMs joined by a bare veth pair are 5.0 x pre" in found[1].why
    assert "bar is 5 x. Two VMs joined by a bare veth pair are 4.2 x ovs" in found[2].why
    assert all("wakes threads on two shared cores" in one.why for one in found[1:])


def test_the_order_has_a_reason_of_its_own() -> None:
    (order, *_) = verdicts(Latency, at("awake", pre=1, ovs=2), cpus=("awake",))
    assert "the paper's 1.0 ran in the kernel" in order.why


def test_charts_are_of_each_setting_of_the_cpus() -> None:
    samples = [
        *at("halting", pre=60, fastpath=20), *at("halting", "p99", pre=90, fastpath=30),
        *at("awake", ovs=8), *of("mean", 4, generation=generation_comparison.BARE, cpus="awake"),
        *of("p50", 3, generation=generation_comparison.BARE, cpus="awake"), *at("awake", "p50", ovs=6),
    ]  # fmt: skip
    drawn = charts(Latency, samples)
    assert list(drawn) == ["generations-halting", "percentiles-halting", "generations-awake", "percentiles-awake"]
    beside = lines(drawn["generations-halting"])
    assert beside["here"] == [("pre\n(pre)", 1.0), ("fastpath\n(2.1)", 1 / 3)]
    assert beside["figure 9"] == [("pre\n(pre)", 1.0), ("fastpath\n(2.1)", 33.7 / 265.9)]
    halting, awake = drawn["percentiles-halting"], drawn["percentiles-awake"]
    assert lines(halting) == {"p50": [], "p90": [], "p99": [("pre", 90), ("fastpath", 30)], "p99.9": []}
    assert lines(awake)["p50"] == [("ovs", 6), (generation_comparison.BARE, 3)]
    assert [one.n for one in awake.series[0].spreads] == [3, 1]
    assert (awake.y, awake.kind, awake.log_y) == ("us", "bars", True)
    assert awake.title.endswith("CPUs awake")


def test_a_percentile_that_one_generation_lacks_is_drawn_of_the_others() -> None:
    samples = [*at("awake", ovs=8, fastpath=2), *at("awake", "p50", fastpath=1), *at("awake", "p99", ovs=9, fastpath=3)]
    drawn = charts(Latency, samples)["percentiles-awake"]
    assert lines(drawn)["p50"] == [("fastpath", 1)]
    assert lines(drawn)["p99"] == [("ovs", 9), ("fastpath", 3)]


def test_points_are_every_generation_and_the_bare_pair_in_each_setting() -> None:
    points = Latency().points(given(Latency, generations=("ovs",)))
    assert [(one["cpus"], one["generation"]) for one in points] == [
        ("halting", "ovs"), ("halting", "bare veth"), ("awake", "ovs"), ("awake", "bare veth"),
    ]  # fmt: skip
