"""Figure 11c's population and what is read off its curves."""

from __future__ import annotations

import random

import pytest

from experiments import populations
from experiments.catalog.offload import LIVE, REPLAY, Offload, at, reaches, threshold_between
from experiments.frame.experiment import Sample, Table
from experiments.frame.parameters import values

GIVEN = values(Offload.parameters, {}, quick=False)


def test_shares_fall_and_follow_the_figure() -> None:
    shares = populations.shares()
    assert shares == sorted(shares, reverse=True)
    left, offloaded = 1.0, 0
    for count, share in populations.papers_curve():
        while offloaded < count:
            left -= shares[offloaded]
            offloaded += 1
        assert left == pytest.approx(share, abs=0.04)


def test_convex() -> None:
    assert populations.convex([(0, 4), (1, 3), (2, 1), (3, 0.5)]) == [(0, 4), (2, 1), (3, 0.5)]


def test_a_replay_offloads_what_is_above_the_threshold_and_is_the_same_again() -> None:
    once = populations.replay(random.Random(3), 10e6, tail=100)
    assert once == populations.replay(random.Random(3), 10e6, tail=100)
    assert 15_000 < once.offloaded < 20_000
    assert 0.05 < once.share < 0.25


def test_a_threshold_lets_exactly_the_wanted_pass() -> None:
    rates = [4e6, 2e6, 1e6]
    for wanted in range(4):
        frames = [rate * (600 + 42) / 600 for rate in rates]
        assert sum(one > threshold_between(rates, wanted) for one in frames) == wanted


def test_reaches_and_at() -> None:
    line = [(0.0, 1.0), (10.0, 0.0)]
    assert reaches(line, 0.5) == pytest.approx(5)
    assert reaches(line[:1], 0.5) is None
    assert at(line, 2.5) == pytest.approx(0.75)
    assert at(line, 99) == 0


def points(part: str, key: str, line: dict[float, tuple[float, float]]) -> list[Sample]:
    found = []
    for value, (count, share) in line.items():
        labels = {"part": part, key: value}
        found += [Sample("offloaded", count, "pairs", labels), Sample("on Hoverboards", share, "share", labels)]
    return found


@pytest.mark.parametrize(("left", "verdict"), [(0.007, "reproduced"), (0.03, "partly"), (0.2, "not")])
def test_verdict_on_a_thousandth_of_the_pairs(left: float, verdict: str) -> None:
    table = Table(points(REPLAY, "threshold_kbps", {1e3: (20_000, 0.3), 20.0: (50_000, left)}))
    assert [one.result for one in Offload().verdicts(table, GIVEN)] == [verdict]


def test_verdict_on_the_live_shape() -> None:
    papers = populations.papers_curve()
    same = {count / 1e3: (count / 1e3, share) for count, share in papers}
    assert Offload().verdicts(Table(points(LIVE, "wanted", same)), GIVEN)[-1].result == "reproduced"
    flat = {0.0: (0.0, 1.0), 20.0: (20.0, 0.99), 21.0: (21.0, 0.0)}
    assert Offload().verdicts(Table(points(LIVE, "wanted", flat)), GIVEN)[-1].result == "not"
