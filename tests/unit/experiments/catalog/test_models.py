"""Programming models side by side: what follows from made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.models import Models, _independent_pairs
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts


def by(metric: str, **models: float) -> list[Sample]:
    """Three samples of each model, whose median is the value."""
    return [
        one
        for name, value in models.items()
        for one in of(metric, value / 2, value, 9 * value, model=name.replace("_", "-"))
    ]


@pytest.mark.parametrize(
    ("asked", "went", "result", "ours"),
    [
        (4.1, 2.0, "reproduced", "4.1 ms against 2.0 ms"),
        (4.0, 2.0, "partly", "4.0 ms against 2.0 ms"),
        (2.1, 2.0, "partly", "2.1 ms against 2.0 ms"),
        (2.0, 2.0, "not", "2.0 ms against 2.0 ms"),
    ],
)
def test_first_packets(asked: float, went: float, result: str, ours: str) -> None:
    samples = by("first round trip", on_demand=asked, hoverboard=went, gateway=0.1)
    (verdict,) = verdicts(Models, [*samples, *by("later round trip", on_demand=9, hoverboard=9)])
    assert verdict.claim.startswith("on demand, a first packet waits")
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "high first-packet latency")


@pytest.mark.parametrize(
    ("everything", "left", "result", "ours"),
    [
        (0.91, 0.04, "reproduced", "91% against 4%"),
        (0.9, 0.04, "partly", "90% against 4%"),
        (0.91, 0.05, "partly", "91% against 5%"),
        (1.0, 0.49, "partly", "100% against 49%"),
        (1.0, 0.5, "not", "100% against 50%"),
    ],
)
def test_what_a_gateway_carries(everything: float, left: float, result: str, ours: str) -> None:
    (verdict,) = verdicts(Models, by("over Hoverboards", gateway=everything, hoverboard=left, on_demand=0.7))
    assert verdict.claim.startswith("a gateway carries everything")
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "all against < 1 %")


@pytest.mark.parametrize(("mesh", "few", "result"), [(31.0, 30.0, "reproduced"), (30.0, 30.0, "not")])
def test_what_a_host_holds(mesh: float, few: float, result: str) -> None:
    (verdict,) = verdicts(Models, by("flows on a host", preprogrammed=mesh, hoverboard=few, gateway=99), vms=33)
    assert verdict.claim.startswith("preprogrammed hosts hold the whole network")
    assert (verdict.result, verdict.paper) == (result, "O(n h) against O(n)")
    assert verdict.ours == f"{mesh:.0f} flows a host against {few:.0f} (offloads included)"
    assert verdict.why.startswith("33 VMs only")


def test_a_claim_needs_both_of_its_models() -> None:
    for metric, one, other in (
        ("first round trip", "on-demand", "hoverboard"),
        ("over Hoverboards", "gateway", "hoverboard"),
        ("flows on a host", "preprogrammed", "hoverboard"),
    ):
        assert verdicts(Models, of(metric, 1.0, model=one)) == verdicts(Models, of(metric, 1.0, model=other)) == []


def test_charts_are_by_model() -> None:
    samples = [
        *by("first round trip", on_demand=4, hoverboard=2), *by("later round trip", hoverboard=1),
        *by("steady round trip", on_demand=3), *by("control plane CPU", gateway=5),
        *by("flows on a host", on_demand=6), *by("flows on a Hoverboard", hoverboard=7),
        *by("over Hoverboards", gateway=1, hoverboard=0.5),
    ]  # fmt: skip
    drawn = charts(Models, samples)
    assert {name: lines(one) for name, one in drawn.items()} == {
        "controller-load": {"control plane CPU": [("gateway", 5)]},
        "round-trips": {
            "first": [("on-demand", 4), ("hoverboard", 2)], "later": [("hoverboard", 1)], "steady": [("on-demand", 3)],
        },
        "state": {"host": [("on-demand", 6)], "Hoverboard": [("hoverboard", 7)]},
        "gateway-load": {"over Hoverboards": [("hoverboard", 0.5), ("gateway", 1)]},
    }  # fmt: skip
    assert all((one.kind, one.x) == ("bars", "programming model") for one in drawn.values())
    assert [name for name, one in drawn.items() if one.log_y] == ["round-trips"]
    assert [one.y for one in drawn.values()] == ["ms of CPU a pair", "ms", "flows", "share of the datagrams"]
    first = drawn["round-trips"].series[0].spreads[0]
    assert (first.n, first.low, first.median, first.high) == (3, 3.0, 4.0, 20.0)
    assert drawn["gateway-load"].note == "Each pair sends 200 kbit/s; measured after 50% of the time."


def test_strangers_share_no_receiver_and_meet_one_way_only() -> None:
    among = [("a", "b"), ("c", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "d")]
    assert _independent_pairs(among, 9) == [("a", "b"), ("a", "c"), ("c", "d")]
    assert _independent_pairs(among, 2) == [("a", "b"), ("a", "c")]


def test_points_are_the_models() -> None:
    assert Models().points(given(Models, models=("gateway", "hoverboard"))) == [
        {"model": "gateway"}, {"model": "hoverboard"},
    ]  # fmt: skip
