"""Bursts: what is read off a Hoverboard's load, and what follows from made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.burst import Burst, relieved_at
from experiments.frame.experiment import ClaimVerdict, Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts


@pytest.mark.parametrize(
    ("loads", "at"),
    [
        ([100, 100, 5, 0, 0], 2.0),
        ([100, 100, 10, 10, 0], 2.0),  # a tenth is relief, ...
        ([100, 100, 11, 10, 10, 0], 3.0),  # ... a little more is not
        ([100, 5, 80, 9, 0, 0], 3.0),
        ([5, 100, 9, 0, 0], 2.0),
        ([5, 100], None),
        ([100, 5, 9, 80, 9, 0], None),
        ([100, 100, 100], None),
        ([100, 100, 100, 0], None),  # the end of the traffic
        ([100, 100, 3, 0], None),
    ],
)
def test_relieved_for_good(loads: list[float], at: float | None) -> None:
    assert relieved_at([(float(second), load) for second, load in enumerate(loads)]) == at


def burst(times: dict[float, list[float]], never: dict[float, int] | None = None) -> ClaimVerdict:
    samples: list[Sample] = []
    for interval in (1.0, 0.1):
        low, high = {"interval": interval, "threshold": 20.0}, {"interval": interval, "threshold": 1000.0}
        samples += [*of("highest load", 1000.0, **low), *of("time to relief", 99.0, **high)]
        samples += [*of("time to relief", *times.get(interval, []), **low), *of("not relieved", 1.0, **high)]
        samples += of("not relieved", *[1.0] * (never or {}).get(interval, 0), **low)
    (verdict,) = verdicts(Burst, samples)
    return verdict


@pytest.mark.parametrize(
    ("times", "never", "result", "ours"),
    [
        ({0.1: [0.7, 0.1, 0.9], 1.0: [2.5]}, {}, "reproduced", "0.7 s at 0.1 s, 2.5 s at 1 s"),
        ({0.1: [0.4], 1.0: [2.6]}, {}, "partly", "0.4 s at 0.1 s, 2.6 s at 1 s"),
        ({0.1: [0.9], 1.0: [1.2]}, {}, "partly", "0.9 s at 0.1 s, 1.2 s at 1 s"),
        ({0.1: [0.4]}, {}, "partly", "0.4 s at 0.1 s"),
        ({0.1: [0.4], 1.0: [1.2]}, {1.0: 1}, "partly", "0.4 s at 0.1 s, 1.2 s at 1 s; 1 time not at all"),
        ({}, {0.1: 1, 1.0: 2}, "not", "never; 3 times not at all"),
        ({}, {}, "not", "never"),
    ],
)
def test_bursts_at_the_lowest_threshold(
    times: dict[float, list[float]], never: dict[float, int], result: str, ours: str
) -> None:
    verdict = burst(times, never)
    assert (verdict.result, verdict.ours) == (result, ours)
    assert verdict.claim == "a burst loads the Hoverboards until the next usage reports, then leaves them"
    assert verdict.paper == "sudden bursts remain a risk"
    assert "two report intervals and 0.6 s" in verdict.why


def test_without_a_burst_nothing_is_said() -> None:
    assert verdicts(Burst, of("time to relief", 1.0, interval=0.1, threshold=20.0)) == []


def test_the_load_is_drawn_over_time_with_its_spread_at_the_lowest_threshold() -> None:
    samples = [
        *of("load", 5.0, interval=1.0, threshold=20.0, at=0.2),
        *of("load", 1.0, 2.0, 9.0, interval=1.0, threshold=20.0, at=0.1),
        *of("load", 7.0, interval=0.5, threshold=20.0, at=0.2),
        *of("load", 99.0, interval=0.5, threshold=1000.0, at=0.1),
        *of("time to relief", 3.0, 1.0, 2.0, interval=0.5, threshold=20.0),
        *of("time to relief", 4.0, interval=0.5, threshold=1000.0),
    ]
    drawn = charts(Burst, samples)
    assert lines(drawn["load"]) == {
        "report interval 1 s": [(0.1, 2.0), (0.2, 5.0)], "report interval 0.5 s": [(0.2, 7.0)],
    }  # fmt: skip
    assert [(one.n, one.low, one.high) for one in drawn["load"].series[0].spreads] == [(3, 1.5, 5.5), (1, 5.0, 5.0)]
    assert drawn["load"].note == "Medians of 0.1 s windows, threshold 20 kbit/s."
    assert lines(drawn["relief"]) == {"threshold 20 kbit/s": [(0.5, 2.0)], "threshold 1000 kbit/s": [(0.5, 4.0)]}
    assert [(one.x, one.y) for one in drawn.values()] == [
        ("seconds since the start", "packets/s"), ("seconds between usage reports", "seconds"),
    ]  # fmt: skip


def test_points_are_each_interval_with_each_threshold() -> None:
    points = Burst().points(given(Burst, interval=(0.1, 1.0), threshold=(20.0, 50.0)))
    assert [(one["threshold"], one["interval"]) for one in points] == [
        (20.0, 0.1), (20.0, 1.0), (50.0, 0.1), (50.0, 1.0),
    ]  # fmt: skip
