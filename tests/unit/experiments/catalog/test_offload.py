"""Figure 11c's population and what is read off its curves."""

from __future__ import annotations

import pytest

from experiments.catalog.offload import LIVE, REPLAY, Offload, at, curve, reaches, threshold_between
from experiments.frame.experiment import Sample, SampleTable
from experiments.workload import traffic_population
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts

PAPERS = traffic_population.papers_curve()


def test_a_threshold_lets_exactly_the_wanted_pass() -> None:
    rates = [4e6, 2e6, 1e6]
    for wanted in range(4):
        frames = [rate * (600 + 42) / 600 for rate in rates]
        assert sum(one > threshold_between(rates, wanted) for one in frames) == wanted


def test_a_threshold_lies_halfway_between_the_frames_of_two_rates_by_ratio() -> None:
    # 42 bytes of headers to a datagram's 600: frames are 1.07 times as many bits.
    assert threshold_between([4e6, 1e6], 0) == round(4e6 * 1.07 * 10)
    assert threshold_between([4e6, 1e6], 1) == round(2e6 * 1.07)
    assert threshold_between([1e-3, 1e-9], 1) == 1  # bit/s at the least
    assert threshold_between([4e6, 1e6], 2) == round(1e6 * 1.07 / 10)


def test_reaches_and_at() -> None:
    line = [(0.0, 1.0), (10.0, 0.5), (20.0, 0.25)]
    assert reaches(line, 0.75) == pytest.approx(5)
    assert reaches(line, 0.5) == 10
    assert reaches(line, 0.2) is None
    assert reaches(line, 1.0) is None  # it does not come from above
    assert [at(line, x) for x in (0, 2.5, 10, 15, 20, 99)] == [1.0, 0.875, 0.5, 0.375, 0.25, 0.25]


def points(part: str, key: str, line: dict[float, tuple[float, float]]) -> list[Sample]:
    """Three samples at each point, whose medians are what was offloaded and the share that was left."""
    found = []
    for value, (count, share) in line.items():
        labels = {"part": part, key: value}
        found += of("offloaded", count - 1, count, 9 * count, **labels)
        found += of("on Hoverboards", share / 2, share, 9 * share, **labels)
    return found


def replayed(*several: tuple[float, float]) -> list[Sample]:
    return points(REPLAY, "threshold_kbps", {1e3 * (number + 1): one for number, one in enumerate(several)})


def live(*several: tuple[float, float]) -> list[Sample]:
    return points(LIVE, "wanted", dict(enumerate(several)))


@pytest.mark.parametrize(
    ("count", "left", "result", "ours"),
    [
        (59_999, 0.0099, "reproduced", "59999 flows leave 0.99%"),
        (50_000, 0.01, "partly", "50000 flows leave 1.00%"),
        (50_000, 0.0499, "partly", "50000 flows leave 4.99%"),
        (50_000, 0.05, "not", "50000 flows leave 5.00%"),
    ],
)
def test_a_thousandth_of_the_pairs(count: int, left: float, result: str, ours: str) -> None:
    (verdict,) = verdicts(Offload, replayed((60_000, 0.001), (20_000, 0.3), (count, left), (10_000, 0.6)))
    assert verdict.claim == "offloading under 0.1 % of the pairs leaves under 1 % of the traffic"
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "some 50k flows, < 1 %")
    assert verdict.ratio == pytest.approx(left / 0.008)


def test_nothing_is_said_of_more_than_a_thousandth_of_the_pairs() -> None:
    assert verdicts(Offload, replayed((60_000, 0.001))) == []


@pytest.mark.parametrize(
    ("apart", "result", "ours"),
    [
        (0.099, "reproduced", "at most 10% of the traffic apart"),
        (-0.101, "partly", "at most 10% of the traffic apart"),
        (0.249, "partly", "at most 25% of the traffic apart"),
        (-0.251, "not", "at most 25% of the traffic apart"),
    ],
)
def test_the_shape_of_the_live_curve(apart: float, result: str, ours: str) -> None:
    same = [(x / 1e3, y + (apart if x == 5e3 else 0.0)) for x, y in PAPERS]
    (verdict,) = verdicts(Offload, live(*same))
    assert verdict.claim == "live, the curve has the same shape"
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "figure 11c")


@pytest.mark.parametrize(("apart", "result"), [(0.1, "partly"), (0.25, "not")])
def test_exactly_at_its_bounds_a_shape_is_not_the_better_one(
    monkeypatch: pytest.MonkeyPatch, apart: float, result: str
) -> None:
    monkeypatch.setattr(traffic_population, "papers_curve", lambda: [(0.0, 1.0), (10.0, 0.05), (20.0, 0.0)])
    (verdict,) = verdicts(Offload, live((0, 1.0), (10, 0.05), (20, apart)))
    assert verdict.result == result


def test_a_live_curve_that_never_comes_down_has_no_shape() -> None:
    assert verdicts(Offload, live((0, 1.0), (10, 0.06))) == []


def test_a_curve_is_in_order_of_what_was_offloaded_and_never_above_all_of_the_traffic() -> None:
    halves = [*of("offloaded", 5, part=LIVE, wanted=7), *of("on Hoverboards", 0.5, part=LIVE, wanted=8)]
    samples = [*live((9, 0.2), (3, 1.1)), *halves, *replayed((7, 0.5))]
    assert curve(SampleTable(samples), LIVE) == [(3, 1.0), (9, 0.2)]
    assert curve(SampleTable(samples), REPLAY) == [(7, 0.5)]


def test_charts_are_at_the_paper_s_size_and_in_units_of_the_flows_that_leave_five_percent() -> None:
    drawn = charts(Offload, [*replayed((2_000, 0.8), (4_000, 0.05)), *live((0, 1.0), (10, 0.05), (20, 0.0))])
    size, shape = drawn["offload-replay"], drawn["offload-shape"]
    assert lines(size)["replay through the offload policy"] == [(2.0, 80.0), (4.0, 5.0)]
    assert lines(size)["figure 11c"][:2] == [(0.0, 100.0), (pytest.approx(0.2), pytest.approx(94.55))]
    found = lines(shape)
    assert found["replay"] == [(0.5, 80.0), (1.0, 5.0)]
    assert found["live"] == [(0.0, 100.0), (1.0, 5.0), (2.0, 0.0)]
    unit = reaches(PAPERS, 0.05)
    assert unit == pytest.approx(22_883, abs=1)  # between 21k, which leave 6.61 %, and 23k, which leave 4.9 %
    assert found["figure 11c"] == [(pytest.approx(x / unit), pytest.approx(100 * y)) for x, y in PAPERS]
    assert [one.label for one in shape.series if not one.paper] == ["replay", "live"]
    assert [one.paper for one in size.series] == [False, True]
    assert shape.x == "offloaded flows, in units of those that leave 5%"
    assert [one.y for one in drawn.values()] == ["% of all bytes", "% of all traffic"]


def test_a_curve_that_never_comes_down_is_left_out_of_the_shapes() -> None:
    assert list(lines(charts(Offload, live((0, 1.0), (10, 0.06)))["offload-shape"])) == ["figure 11c"]


def test_points_are_the_replayed_thresholds_then_the_live_ones() -> None:
    assert Offload().points(given(Offload, thresholds=(5.0, 7.0), live=(0, 4))) == [
        {"part": REPLAY, "threshold_kbps": 5.0}, {"part": REPLAY, "threshold_kbps": 7.0},
        {"part": LIVE, "wanted": 0}, {"part": LIVE, "wanted": 4},
    ]  # fmt: skip
