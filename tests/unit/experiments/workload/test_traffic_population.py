"""Figure 11c's population: the curve, the shares of its pairs, and their reports through the real offload policy."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from experiments.workload import traffic_population
from experiments.workload.traffic_population import Replayed

# Three ranks carry a half, a quarter and an eighth of the traffic; the tail has the last eighth.
CURVE = [(0.0, 1.0), (1.0, 0.5), (3.0, 0.125)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three above, and 7,000 pairs that share what is left."""
    monkeypatch.setattr(traffic_population, "papers_curve", lambda: CURVE)
    monkeypatch.setattr(traffic_population, "POSSIBLE_PAIRS", 7_003 / traffic_population.TALKING)
    monkeypatch.setattr(traffic_population, "_NOISE", 0.0)


def test_the_paper_s_curve_is_in_flows_and_shares_from_all_of_the_traffic() -> None:
    curve = traffic_population.papers_curve()
    assert curve[:2] == [(0.0, 1.0), (200.0, pytest.approx(0.9455))]
    assert curve[-1] == (57_000.0, pytest.approx(0.0073))


@pytest.mark.parametrize(
    ("points", "hull"),
    [
        ([(0, 4), (1, 3), (2, 1), (3, 0.5)], [(0, 4), (2, 1), (3, 0.5)]),
        ([(0, 3), (1, 2), (2, 1)], [(0, 3), (2, 1)]),  # a point on a line is none
        ([(0, 4), (1, 3.9), (2, 3.8), (3, 0)], [(0, 4), (3, 0)]),
        ([(0, 1)], [(0, 1)]),
        ([(0, 4), (2, 1), (3, 0.9)], [(0, 4), (2, 1), (3, 0.9)]),
    ],
)
def test_convex(points: Sequence[tuple[float, float]], hull: Sequence[tuple[float, float]]) -> None:
    assert traffic_population.convex(points) == hull


@pytest.mark.usefixtures("small")
def test_shares_are_the_slopes_of_the_curve() -> None:
    assert traffic_population.shares() == [0.5, 0.1875, 0.1875]


def test_shares_fall_and_follow_the_figure() -> None:
    shares = traffic_population.shares()
    assert shares == sorted(shares, reverse=True)
    left, offloaded = 1.0, 0
    for count, share in traffic_population.papers_curve():
        while offloaded < count:
            left -= shares[offloaded]
            offloaded += 1
        assert left == pytest.approx(share, abs=0.04)


def test_some_pairs_stand_for_all_and_carry_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_population, "shares", lambda: [8.0, 4.0, 2.0, 1.0, 1.0, 0.0])
    assert traffic_population.representative_shares(2) == pytest.approx([0.8, 0.2])  # the ranks 1 and 4 of 0 to 5
    assert traffic_population.representative_shares(3) == pytest.approx([0.8, 0.2, 0.0])  # 1, 3 and 5


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("threshold", "replayed"),
    [
        (1e9, Replayed(0, 1.0)),
        (30_000.0, Replayed(1, pytest.approx(0.5, abs=1e-3))),  # 53 kbit/s; the others send 20
        (19_000.0, Replayed(3, pytest.approx(0.125, abs=1e-3))),
    ],
)
def test_a_replay_offloads_what_is_above_the_threshold(threshold: float, replayed: Replayed) -> None:
    assert traffic_population.replay(random.Random(3), threshold, tail=2) == replayed


def test_a_tenth_of_the_paper_s_population_offloads_as_many_as_the_figure_says(monkeypatch: pytest.MonkeyPatch) -> None:
    tenth = [(x / 10, y) for x, y in traffic_population.papers_curve()]
    monkeypatch.setattr(traffic_population, "papers_curve", lambda: tenth)
    monkeypatch.setattr(traffic_population, "POSSIBLE_PAIRS", traffic_population.POSSIBLE_PAIRS / 10)
    found = traffic_population.replay(random.Random(3), 10e6, tail=100)
    assert 1_500 < found.offloaded < 2_000
    assert 0.05 < found.share < 0.25


@pytest.mark.usefixtures("small")
def test_a_replay_needs_a_report_before_anything_is_offloaded() -> None:
    assert traffic_population.replay(random.Random(3), 19_000.0, intervals=1, tail=2) == Replayed(0, 1.0)
    assert traffic_population.replay(random.Random(3), 19_000.0, intervals=2, tail=2).offloaded == 3


def test_reports_scatter_and_the_same_seed_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_population, "papers_curve", lambda: [(0.0, 1.0), (1_000.0, 0.5)])
    monkeypatch.setattr(traffic_population, "POSSIBLE_PAIRS", 1e6)
    once = traffic_population.replay(random.Random(3), 20_000.0, tail=100)
    assert once == traffic_population.replay(random.Random(3), 20_000.0, tail=100)
    assert once != traffic_population.replay(random.Random(4), 20_000.0, tail=100)
    # All send 20 kbit/s, so that noise alone decides who is above the threshold in one of two reports.
    assert 600 < once.offloaded < 900
    assert once.share == pytest.approx(1 - once.offloaded / 2000, abs=0.02)
