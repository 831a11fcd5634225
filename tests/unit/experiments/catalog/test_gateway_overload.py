"""Usage from hosts or from Hoverboards: what follows from made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.gateway_overload import HOSTS, HOVERBOARDS, GatewayOverload
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts


def at(overload: float, hosts: float | None, hoverboards: float | None, /, **times: float) -> list[Sample]:
    """Shares of relieved pairs by who reports; what is not relieved is lost."""
    found: list[Sample] = []
    for name, share in ((HOSTS, hosts), (HOVERBOARDS, hoverboards)):
        if share is not None:
            labels = {"reports": name, "overload": overload}
            found += [*of("relieved", share, **labels), *of("lost", 1 - share, **labels)]
            found += of("time to relief", *([times[name]] if name in times else []), **labels)
    return found


@pytest.mark.parametrize(
    ("hosts", "hoverboards", "result"),
    [
        (0.91, 0.49, "reproduced"),
        (0.9, 0.49, "partly"),
        (0.91, 0.5, "partly"),
        (0.2, 0.1, "partly"),
        (0.2, 0.2, "not"),
        (0.0, 1.0, "not"),
    ],
)
def test_relief_at_the_largest_flood(hosts: float, hoverboards: float, result: str) -> None:
    for smaller in (at(0.0, 0.0, 1.0), at(2.0, 1.0, 0.0)):
        (verdict,) = verdicts(GatewayOverload, [*smaller, *at(40.0, hosts, hoverboards), *at(10.0, 0.5, 0.5)])
        assert verdict.result == result


def test_the_words_of_the_verdict() -> None:
    (verdict,) = verdicts(GatewayOverload, at(40.0, 1.0, 0.25, hosts=0.3), capacity=70)
    assert verdict.claim == "an overloaded Hoverboard is relieved by hosts' reports, and not by its own"
    assert verdict.paper == "why usage comes from sending hosts"
    assert verdict.ours == "100% of the pairs against 25%; lost 0% against 75%; relief after 0.30 s against never"
    assert verdict.why == "The Hoverboard's capacity is 70 packets/s; the flood is 40 times it."


@pytest.mark.parametrize("samples", [[], at(0.0, 1.0, 0.0), at(40.0, 1.0, None), at(40.0, None, 0.0)])
def test_without_a_flood_or_without_both_nothing_is_said(samples: list[Sample]) -> None:
    assert verdicts(GatewayOverload, samples) == []


def test_charts_are_by_overload_and_source_of_reports() -> None:
    samples = [*at(0.0, 1.0, 1.0, hosts=0.2, hoverboards=0.1), *at(40.0, 1.0, 0.0, hosts=0.4)]
    drawn = charts(GatewayOverload, samples, seconds=7.0)
    hosts, hoverboards = "reports from hosts", "reports from hoverboards"
    assert lines(drawn["relieved"]) == {hosts: [(0.0, 1.0), (40.0, 1.0)], hoverboards: [(0.0, 1.0), (40.0, 0.0)]}
    assert lines(drawn["lost"]) == {hosts: [(0.0, 0.0), (40.0, 0.0)], hoverboards: [(0.0, 0.0), (40.0, 1.0)]}
    assert lines(drawn["time-to-relief"]) == {hosts: [(0.0, 0.2), (40.0, 0.4)], hoverboards: [(0.0, 0.1)]}
    note = drawn["time-to-relief"].note
    assert note.startswith("Of the pairs that were relieved within 7 s")
    assert note.endswith("Where a mark of reports from hoverboards is missing, no pair was relieved.")
    assert [one.y for one in drawn.values()] == ["share of pairs", "share of their datagrams", "seconds"]


def test_time_to_relief_is_drawn_where_there_is_one() -> None:
    whole = charts(GatewayOverload, at(0.0, 1.0, 1.0, hosts=0.2, hoverboards=0.1))["time-to-relief"]
    assert "missing" not in whole.note
    alone = charts(GatewayOverload, at(40.0, 1.0, 0.0, hosts=0.2))["time-to-relief"]
    assert list(lines(alone)) == ["reports from hosts"]
    assert charts(GatewayOverload, at(40.0, 0.0, 0.0)).keys() == {"relieved", "lost"}


def test_points_are_either_source_at_each_overload() -> None:
    points = GatewayOverload().points(given(GatewayOverload, overload=(0.0, 2.0)))
    assert points == [{"reports": one, "overload": load} for load in (0.0, 2.0) for one in (HOSTS, HOVERBOARDS)]
