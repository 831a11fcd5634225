"""The verdict on a noisy neighbour: a difference counts when its interval leaves out none at all."""

from __future__ import annotations

import pytest

from experiments.catalog.isolation import Isolation
from experiments.frame.experiment import Sample, Table, Verdict
from experiments.frame.parameters import values
from experiments.frame.statistics import ratio

GIVEN = values(Isolation.parameters, {}, quick=False)


def shielded(priority: list[float], arrival: list[float], full: float = 0.0) -> Verdict:
    samples = [
        Sample("p99", value, "us", {"noise": "ingress", "scheduler": one})
        for one, several in (("priority", priority), ("arrival", arrival))
        for value in several
    ]
    samples += [
        Sample(name, value, "", {"noise": "ingress", "scheduler": "priority"})
        for name, value in (("dropped by full VM queues", full), ("loss", 0.0))
    ]
    return Isolation().verdicts(Table(samples), GIVEN)[0]


@pytest.mark.parametrize(
    ("priority", "arrival", "result"),
    [
        ([10.0, 11, 9, 10, 12, 10], [30.0, 28, 33, 29, 31, 30], "reproduced"),
        ([10.0, 10, 10, 10, 10, 10], [11.0, 11, 11, 11, 11, 11], "partly"),
        ([28.1, 11.3, 18.6, 12, 25, 15], [20.9, 16.7, 14.0, 22, 13, 17], "not"),
        ([30.0, 28, 33], [10.0, 11, 9], "not"),
        ([10.0, 11], [30.0, 28], "not measured"),
    ],
    ids=["clearly", "a little", "by chance", "the other way", "too few"],
)
def test_result(priority: list[float], arrival: list[float], result: str) -> None:
    assert shielded(priority, arrival).result == result


def test_why_not_tells_whether_a_queue_stood() -> None:
    assert "never filled" in shielded([30.0, 28, 33], [10.0, 11, 9]).why
    assert "two cores" in shielded([30.0, 28, 33], [10.0, 11, 9], full=50.0).why


def test_ratio_is_of_medians_and_the_same_every_time() -> None:
    found = ratio([2.0, 4, 6], [1.0, 2, 3])
    assert found == ratio([2.0, 4, 6], [1.0, 2, 3])
    assert found.low <= found.value == 2 <= found.high


def test_a_ratio_needs_something_below_its_line() -> None:
    for under in ([], [0.0, 1.0]):
        with pytest.raises(ValueError, match="over zero"):
            ratio([1.0], under)
