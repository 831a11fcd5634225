"""The verdicts on programming time, from made-up samples of known shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.catalog.programming_time import MESH, OURS, SHAPE, SIZE, ProgrammingTime, exponent
from experiments.frame.experiment import Sample, Table
from experiments.frame.parameters import values

HOSTS = 500
GIVEN = values(ProgrammingTime.parameters, {}, quick=False)


def table(mesh: Callable[[float], float]) -> Table:
    samples = []
    for vms in (50, 125, 250, 500, 1000, 2000):
        for model, flows in ((MESH, mesh(vms)), (OURS, 4.0 * vms)):
            labels = {"cluster": SHAPE, "model": model, "vms": vms, "hosts": HOSTS}
            samples += [
                Sample("flows", flows, "flows", labels),
                Sample("programming time", flows / 1e5, "s", labels),
            ]
    large = {"cluster": SIZE, "model": OURS, "hosts": 10_000}
    samples += [Sample("programming time", vms / 1e4, "s", large | {"vms": vms}) for vms in (1000, 10_000, 40_000)]
    return Table(samples)


def results(mesh: Callable[[float], float]) -> list[str]:
    return [one.result for one in ProgrammingTime().verdicts(table(mesh), GIVEN)]


def test_a_square_up_to_the_hosts_then_a_line() -> None:
    assert results(lambda vms: vms * min(vms, HOSTS)) == ["reproduced"] * 4


@pytest.mark.parametrize("mesh", [lambda vms: vms, lambda vms: vms**2], ids=["a line", "a square without a knee"])
def test_without_the_knee_it_is_not_reproduced(mesh: Callable[[float], float]) -> None:
    assert set(results(mesh)[1:3]) == {"not"}


def test_exponent() -> None:
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_charts_have_both_curves() -> None:
    charts = {one.name: one for one in ProgrammingTime().charts(table(lambda vms: vms * min(vms, HOSTS)), GIVEN)}
    assert {one.label for one in charts["flows"].series} == {MESH, OURS}
    assert any(one.paper for one in charts["hoverboard-at-size"].series)
