"""The verdict on the outage, from made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.on_demand_collapse import HOVERBOARD, ON_DEMAND, OnDemandCollapse
from experiments.frame.experiment import Sample, Table
from experiments.frame.parameters import values

GIVEN = values(OnDemandCollapse.parameters, {}, quick=False)


def table(answered: dict[str, int], times: dict[str, float]) -> Table:
    samples = []
    for name, count in answered.items():
        labels = {"model": name, "flooders": 24}
        samples += [Sample("answered", float(number < count), "share", labels) for number in range(12)]
        samples += [Sample("first round trip", times[name], "ms", labels)] * count
    return Table(samples)


@pytest.mark.parametrize(
    ("answered", "times", "verdict"),
    [
        ({ON_DEMAND: 1, HOVERBOARD: 12}, {ON_DEMAND: 900.0, HOVERBOARD: 5.0}, "reproduced"),
        ({ON_DEMAND: 0, HOVERBOARD: 12}, {ON_DEMAND: 0.0, HOVERBOARD: 5.0}, "reproduced"),
        ({ON_DEMAND: 0, HOVERBOARD: 6}, {ON_DEMAND: 0.0, HOVERBOARD: 5.0}, "partly"),
        ({ON_DEMAND: 12, HOVERBOARD: 12}, {ON_DEMAND: 50.0, HOVERBOARD: 5.0}, "partly"),
        ({ON_DEMAND: 12, HOVERBOARD: 12}, {ON_DEMAND: 5.0, HOVERBOARD: 5.0}, "not"),
    ],
)
def test_verdict(answered: dict[str, int], times: dict[str, float], verdict: str) -> None:
    assert [one.result for one in OnDemandCollapse().verdicts(table(answered, times), GIVEN)] == [verdict]
