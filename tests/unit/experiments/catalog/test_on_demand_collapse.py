"""The outage: what follows from made-up first packets under a load of first packets."""

from __future__ import annotations

import pytest

from experiments.catalog.on_demand_collapse import HOVERBOARD, ON_DEMAND, OnDemandCollapse
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts


def at(flooders: int, model: str, answered: int, time: float, sent: int = 20) -> list[Sample]:
    """So many first packets that were sent and answered under a load, each after `time` ms."""
    labels = {"model": model, "flooders": flooders, "first packets a second": 40 * flooders}
    shares = of("answered", *[1.0] * answered, *[0.0] * (sent - answered), **labels)
    return [*shares, *of("first round trip", *[time] * answered, **labels)]


@pytest.mark.parametrize(
    ("on_demand", "hoverboard", "result"),
    [
        ((14, 900.0), (19, 5.0), "reproduced"),  # 70 % and 95 %
        ((0, 0.0), (19, 5.0), "reproduced"),
        ((15, 5.0), (19, 5.0), "not"),  # exactly a fifth less
        ((13, 5.0), (18, 5.0), "partly"),  # 90 % does not stand
        ((0, 0.0), (10, 5.0), "partly"),
        ((20, 10.1), (20, 5.0), "partly"),
        ((20, 10.0), (20, 5.0), "not"),
        ((0, 0.0), (0, 0.0), "not"),
    ],
)
def test_the_largest_load_decides(on_demand: tuple[int, float], hoverboard: tuple[int, float], result: str) -> None:
    smaller = [*at(3, ON_DEMAND, 0, 0.0), *at(3, HOVERBOARD, 20, 1.0), *at(0, ON_DEMAND, 20, 1.0)]
    samples = [*at(24, ON_DEMAND, *on_demand), *smaller, *at(24, HOVERBOARD, *hoverboard)]
    (verdict,) = verdicts(OnDemandCollapse, samples)
    assert verdict.result == result
    assert verdict.claim == "under many first packets on demand collapses, the Hoverboard model does not"
    assert verdict.paper == "an outage"


def test_the_words_of_the_verdict() -> None:
    (verdict,) = verdicts(OnDemandCollapse, [*at(24, ON_DEMAND, 10, 30.0), *at(24, HOVERBOARD, 20, 5.0)])
    assert verdict.ours == (
        "on-demand: 50% answered, median 30 ms; hoverboard: 100% answered, median 5 ms, at 960 a second"
    )
    assert verdict.why.endswith("(first round trips 6.0 times as long on demand).")
    (verdict,) = verdicts(OnDemandCollapse, [*at(24, ON_DEMAND, 0, 0.0), *at(24, HOVERBOARD, 20, 5.0)])
    assert verdict.ours.startswith("on-demand: none answered; hoverboard: 100%")
    assert "first round trips 200.0 times as long" in verdict.why  # one that is lost counts as the wait of a second
    (verdict,) = verdicts(OnDemandCollapse, [*at(24, ON_DEMAND, 20, 500.0), *at(24, HOVERBOARD, 0, 0.0)])
    assert "first round trips 0.5 times as long" in verdict.why


@pytest.mark.parametrize(
    "samples",
    [[], [*at(0, ON_DEMAND, 9, 1.0), *at(0, HOVERBOARD, 9, 1.0)], at(6, ON_DEMAND, 9, 1.0), at(6, HOVERBOARD, 9, 1.0)],
)
def test_without_a_load_or_without_both_nothing_is_said(samples: list[Sample]) -> None:
    assert verdicts(OnDemandCollapse, samples) == []


def test_charts_are_over_the_load() -> None:
    samples = [
        *at(0, ON_DEMAND, 20, 3.0), *at(6, ON_DEMAND, 5, 90.0, sent=10), *at(6, HOVERBOARD, 9, 4.0, sent=9),
        *of("answered", model=HOVERBOARD, flooders=24),
    ]  # fmt: skip
    drawn = charts(OnDemandCollapse, samples)
    assert lines(drawn["first-round-trip"]) == {"on-demand": [(0, 3.0), (240, 90.0)], "hoverboard": [(240, 4.0)]}
    assert lines(drawn["answered"]) == {"on-demand, n = 20": [(0, 1.0), (240, 0.5)], "hoverboard, n = 9": [(240, 1.0)]}
    assert [(one.y, one.log_y) for one in drawn.values()] == [("ms", True), ("share of first packets", False)]
    assert drawn["answered"].title == "Bystanders answered within 1 s"


def test_a_model_without_answers_or_losses_has_an_empty_line() -> None:
    drawn = charts(OnDemandCollapse, of("first round trip", 1.0, model=HOVERBOARD, **{"first packets a second": 40}))
    assert lines(drawn["answered"]) == {"hoverboard, n = 0": []}


def test_points_are_each_model_at_each_load() -> None:
    points = OnDemandCollapse().points(given(OnDemandCollapse, flooders=(0, 3)))
    assert [(one["flooders"], one["model"], one["first packets a second"]) for one in points] == [
        (0, ON_DEMAND, 0), (0, HOVERBOARD, 0), (3, ON_DEMAND, 120), (3, HOVERBOARD, 120),
    ]  # fmt: skip
