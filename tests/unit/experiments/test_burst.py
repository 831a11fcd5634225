"""What is read off a Hoverboard's load, and the verdicts on bursts and overload, from made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.burst import Burst, relieved_at
from experiments.catalog.gateway_overload import HOSTS, HOVERBOARDS, GatewayOverload
from experiments.frame.experiment import Sample, Table
from experiments.frame.parameters import values


@pytest.mark.parametrize(
    ("loads", "at"),
    [
        ([100, 100, 5, 0, 0], 2.0),
        ([100, 5, 80, 9, 0, 0], 3.0),
        ([100, 100, 100], None),
        ([100, 100, 100, 0], None),  # the end of the traffic
        ([100, 100, 3, 0], None),
    ],
)
def test_relieved_for_good(loads: list[float], at: float | None) -> None:
    assert relieved_at([(float(second), load) for second, load in enumerate(loads)]) == at


def burst(times: dict[float, float], never: int = 0) -> list[str]:
    given = values(Burst.parameters, {}, quick=False)
    labels = [{"interval": interval, "threshold": 20.0} for interval in (0.1, 1.0)]
    samples = [Sample("highest load", 1000.0, "packets/s", one) for one in labels]
    samples += [
        Sample("time to relief", times[one["interval"]], "s", one) for one in labels if one["interval"] in times
    ]
    samples += [Sample("not relieved", 1.0, "times", labels[0])] * never
    return [one.result for one in Burst().verdicts(Table(samples), given)]


def test_verdict_on_bursts() -> None:
    assert burst({0.1: 0.4, 1.0: 1.2}) == ["reproduced"]
    assert burst({0.1: 0.4}) == ["partly"]
    assert burst({0.1: 0.4, 1.0: 4.0}) == ["partly"]
    assert burst({0.1: 0.4, 1.0: 1.2}, never=1) == ["partly"]
    assert burst({}) == ["not"]


@pytest.mark.parametrize(
    ("by_hosts", "by_hoverboards", "verdict"), [(1, 0, "reproduced"), (0.6, 0.3, "partly"), (1, 1, "not")]
)
def test_verdict_on_reports(by_hosts: float, by_hoverboards: float, verdict: str) -> None:
    given = values(GatewayOverload.parameters, {}, quick=False)
    samples = []
    for name, share in ((HOSTS, by_hosts), (HOVERBOARDS, by_hoverboards)):
        labels = {"reports": name, "overload": 40.0}
        samples += [Sample("relieved", share, "share", labels), Sample("lost", 1 - share, "share", labels)]
    assert [one.result for one in GatewayOverload().verdicts(Table(samples), given)] == [verdict]


def test_time_to_relief_is_drawn_and_told_by_source_of_reports() -> None:
    given = values(GatewayOverload.parameters, {}, quick=False)
    samples = [
        Sample(
            "relieved", 1.0 if name == HOSTS or not overload else 0.0, "share", {"reports": name, "overload": overload}
        )
        for overload in (0.0, 40.0)
        for name in (HOSTS, HOVERBOARDS)
    ]
    samples += [Sample("lost", 0.5, "share", one.labels) for one in samples]
    samples += [Sample("time to relief", 0.3, "s", one.labels) for one in samples if one.value == 1.0]
    chart = next(one for one in GatewayOverload().charts(Table(samples), given) if one.name == "time-to-relief")
    assert [(line.label, list(line.x)) for line in chart.series] == [
        ("reports from hosts", [0.0, 40.0]),
        ("reports from hoverboards", [0.0]),
    ]
    assert "reports from hoverboards is missing" in chart.note
    assert "0.30 s against never" in GatewayOverload().verdicts(Table(samples), given)[0].ours
