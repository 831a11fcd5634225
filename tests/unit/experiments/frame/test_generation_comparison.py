"""Generations beside the paper's versions: their order, what the newest gains over the oldest, the chart of both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import pytest

from experiments import paper
from experiments.frame import generation_comparison
from experiments.frame.experiment import Bench, SampleTable
from experiments.paper import Curve
from experiments.tools.tool_processes import Node
from tests.unit.experiments.catalog.made_up import lines, of

MADE_UP = Curve(("pre", "1.0", "1.5", "2.0", "2.1"), (100.0, 105.0, 110.2, 50.0, 48.0), "version", "us")


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure whose neighbours are just far enough apart to have an order, or just not."""
    monkeypatch.setattr(paper, "curve", lambda figure, series: MADE_UP)


@pytest.mark.parametrize(
    ("name", "version"),
    [("pre", "pre"), ("ovs", "1.0"), ("ovs-offload", "1.5"), ("fastpath-vmm", "2.0"), ("fastpath", "2.1")],
)
def test_each_generation_stands_for_a_version(name: str, version: str) -> None:
    assert generation_comparison.version(name) == version


def test_the_generations_to_measure_are_those_that_are_named_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert generation_comparison.chosen({"generations": ("fastpath", "pre")}) == ["pre", "fastpath"]
    for datapath, found in (("netdev", 4), ("system", 5)):
        monkeypatch.setattr(generation_comparison, "datapath_type", lambda datapath=datapath: datapath)
        assert len(generation_comparison.chosen({"generations": ("all", "pre")})) == found


def test_a_generation_s_value_is_the_median_of_the_samples_with_these_labels() -> None:
    table = SampleTable(
        [*of("mean", 1.0, 2.0, 9.0, generation="fastpath", cpus="awake"), *of("mean", 5.0, generation="fastpath"),
         *of("p50", 7.0, generation="pre", cpus="awake"), *of("mean", 3.0, generation="ovs", cpus="awake")]
    )  # fmt: skip
    assert list(generation_comparison.measured(table, "mean", cpus="awake").items()) == [
        ("ovs", 3.0),
        ("fastpath", 2.0),
    ]


@pytest.mark.parametrize(
    ("found", "result", "words"),
    [
        ({}, "not measured", "an order needs two"),
        ({"pre": 1.0}, "not measured", "an order needs two"),
        ({"pre": 1.0, "fastpath": 0.5}, "reproduced", "Every pair of generations"),
        ({"pre": 1.0, "fastpath": 1.5}, "not", "pre and fastpath are in the opposite order. because."),
        ({"pre": 1.0, "ovs": 1.1}, "reproduced", "Every pair"),  # 105 / 100 is an order, ...
        ({"pre": 1.0, "ovs": 1.0}, "not", "pre and ovs"),  # ... and equal values are not in it
        ({"ovs": 1.1, "ovs-offload": 1.0}, "reproduced", "Every pair"),  # 110.2 / 105 is none,
        ({"fastpath-vmm": 1.0, "fastpath": 1.1}, "reproduced", "Every pair"),  # nor is 50 / 48
        ({"fastpath-vmm": 1.0, "fastpath": 1.0}, "reproduced", "Every pair"),
        ({"ovs": 2.0, "fastpath-vmm": 2.0}, "reproduced", "Every pair"),  # equal ones do not rise: as they should
        ({"pre": 9.0, "ovs": 8.0, "fastpath": 1.0}, "partly", "pre and ovs are"),  # 1 of 3 pairs
        ({"pre": 1.0, "ovs": 2.0, "fastpath": 1.5}, "partly", "pre and fastpath are"),
        ({"pre": 1.0, "ovs": 2.0, "fastpath": 3.0}, "not", "pre and fastpath, ovs and fastpath are"),  # 2 of 3
    ],
)
@pytest.mark.usefixtures("figure")
def test_the_order_of_generations(found: dict[str, float], result: str, words: str) -> None:
    verdict = generation_comparison.order_verdict(found, "9", "TCP RTT", "claim", why="because")
    assert (verdict.claim, verdict.result) == ("claim", result)
    assert words in verdict.why
    assert verdict.paper == "pre: 100 1.0: 105 1.5: 110.2 2.0: 50 2.1: 48"
    assert verdict.ours == (
        " ".join(f"{name}: {value:g}" for name, value in found.items()) if len(found) > 1 else "too few generations"
    )


def test_the_order_names_the_machine_as_its_reason_unless_it_is_given_one() -> None:
    verdict = generation_comparison.order_verdict({"pre": 1.0, "fastpath": 0.5}, "8", "throughput", "more")
    assert verdict.result == "not"
    assert verdict.why.endswith("shares two cores with its VMs.")
    assert verdict.paper == "pre: 1.7 1.0: 5.6 1.5: 7.5 2.0: 24.4 2.1: 24.7"


@pytest.mark.parametrize(
    ("newest", "more", "result", "ratio", "ours"),
    [
        (16.0, True, "reproduced", 0.8, "8.0 x (fastpath over pre)"),
        (15.8, True, "partly", 0.79, "7.9 x (fastpath over pre)"),
        (8.0, True, "partly", 0.4, "4.0 x (fastpath over pre)"),
        (7.9, True, "not", 0.395, "4.0 x (fastpath over pre)"),
        (0.25, False, "reproduced", 0.8, "8.0 x (fastpath over pre)"),
        (0.26, False, "partly", 0.769, "7.7 x (fastpath over pre)"),
        (0.5, False, "partly", 0.4, "4.0 x (fastpath over pre)"),
        (0.51, False, "not", 0.392, "3.9 x (fastpath over pre)"),
    ],
)
def test_what_the_newest_gains_over_the_oldest(newest: float, more: bool, result: str, ratio: float, ours: str) -> None:
    found = {"pre": 2.0, "ovs": 99.0, "fastpath": newest}
    verdict = generation_comparison.gain_verdict(found, 8, 10, "claim", more=more, why="because", since="1.0")
    assert (verdict.claim, verdict.result, verdict.ours) == ("claim", result, ours)
    assert verdict.ratio == pytest.approx(ratio, abs=0.001)
    assert verdict.paper == "10 x (2.2 over 1.0)"
    assert verdict.why == "The bar is 8 x. because."


@pytest.mark.parametrize("found", [{}, {"pre": 1.0}, {"pre": 0.0, "ovs": 1.0}, {"pre": 1.0, "ovs": 0.0}])
def test_a_gain_needs_two_values_above_zero(found: dict[str, float]) -> None:
    verdict = generation_comparison.gain_verdict(found, 8, 10, "claim", more=True)
    assert (verdict.result, verdict.ours) == ("not measured", "too few generations")
    assert verdict.paper == "10 x (2.2 over pre)"
    assert verdict.why == "a ratio needs two."


@pytest.mark.parametrize(
    ("bare", "more", "words"),
    [
        (16.0, True, "a bare veth pair are 8.0 x pre. because."),
        (15.0, True, "a bare veth pair are 7.5 x pre, so no generation can reach the bar here. because."),
        (0.25, False, "a bare veth pair are 8.0 x pre. because."),
        (0.5, False, "a bare veth pair are 4.0 x pre, so no generation can reach the bar here. because."),
    ],
)
def test_what_a_bare_pair_gives_stands_beside_the_bar(bare: float, more: bool, words: str) -> None:
    verdict = generation_comparison.gain_verdict(
        {"pre": 2.0, "ovs": 1.0}, 8, 10, "claim", more=more, why="because", bare=bare
    )
    assert verdict.why == f"The bar is 8 x. Two VMs joined by {words}"


def test_generations_are_drawn_beside_the_paper_as_multiples_of_the_oldest() -> None:
    table = SampleTable(
        [*of("throughput", 0.5, 0.4, 0.6, generation="ovs", streams=16), *of("throughput", 99.0, generation="ovs"),
         *of("throughput", 2.0, 1.0, 4.0, generation="fastpath", streams=16)]
    )  # fmt: skip
    chart = generation_comparison.chart_beside_paper(
        table, "throughput", "name", "Title", "8", "throughput", streams=16
    )
    assert lines(chart) == {
        "here": [("ovs\n(1.0)", 1.0), ("fastpath\n(2.1)", 4.0)],
        "figure 8": [("ovs\n(1.0)", 1.0), ("fastpath\n(2.1)", 24.7 / 5.6)],
    }
    assert [(one.n, one.low, one.high) for one in chart.series[0].spreads] == [(3, 0.9, 1.1), (3, 3.0, 6.0)]
    assert [one.paper for one in chart.series] == [False, True]
    assert (chart.name, chart.title, chart.y, chart.kind, chart.log_y) == ("name", "Title", "times ovs", "bars", True)
    assert chart.x == "generation (the paper's version)"
    assert "oldest generation" in chart.note


def test_nothing_is_drawn_of_no_generation() -> None:
    chart = generation_comparison.chart_beside_paper(SampleTable([]), "throughput", "name", "Title", "8", "throughput")
    assert (chart.name, chart.title, chart.x, chart.y, chart.series) == ("name", "Title", "", "", [])


def test_multiples_of_nothing_are_the_values_themselves() -> None:
    table = SampleTable([*of("loss", 0.0, generation="pre"), *of("loss", 3.0, generation="ovs")])
    assert lines(generation_comparison.chart_beside_paper(table, "loss", "n", "t", "8", "throughput"))["here"] == [
        ("pre\n(pre)", 0.0), ("ovs\n(1.0)", 3.0),
    ]  # fmt: skip


class _Bed:
    """Two VMs of a testbed that is made up."""

    def __init__(self) -> None:
        self.topology = self
        self.vms = [type("VM", (), {"name": name, "ip": ip}) for name, ip in (("a", "10.0.0.2"), ("b", "10.0.0.3"))]

    def node(self, name: str) -> Node:
        return Node(name, 7)


class _Bench:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, dict[str, Any]]] = []

    def testbed(self, topology: Any, **options: Any) -> _Bed:
        self.asked.append((topology, options))
        return _Bed()


def test_the_ends_of_a_generation_are_the_pair_of_its_testbed() -> None:
    bench = _Bench()
    with generation_comparison.ends_of(cast(Bench, bench), "ovs") as ends:
        assert (ends.source.name, ends.target.name, ends.address) == ("a", "b", "10.0.0.3")
        assert isinstance(ends, generation_comparison.Pair)
        assert isinstance(ends.testbed, _Bed)
    assert bench.asked == [(generation_comparison.PAIR, {"dataplane": "ovs"})]
    assert generation_comparison.PAIR.is_file()


def test_the_ends_of_a_bare_pair_need_no_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def bare_pair() -> Iterator[tuple[Node, Node, str]]:
        yield Node("here", 1), Node("there", 2), "10.0.0.3"

    monkeypatch.setattr(generation_comparison, "bare_pair", bare_pair)
    bench = _Bench()
    with generation_comparison.ends_of(cast(Bench, bench), generation_comparison.BARE) as ends:
        assert (ends.source.name, ends.target.name, ends.address) == ("here", "there", "10.0.0.3")
    assert bench.asked == []
