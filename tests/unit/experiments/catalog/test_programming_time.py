"""Figure 11a: what follows from made-up programming times and flows of known shape."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from experiments import paper
from experiments.catalog import programming_time
from experiments.catalog.programming_time import MESH, OURS, SHAPE, SIZE, ProgrammingTime, exponent
from experiments.frame.experiment import ClaimVerdict, Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts

HOSTS = 500  # the default


def at_size(metric: str, line: Mapping[int, float]) -> list[Sample]:
    """Three samples at each size, whose median is the value; sizes in no order."""
    return [
        one
        for vms, value in reversed(line.items())
        for one in of(metric, value / 2, value, 9 * value, cluster=SIZE, model=OURS, vms=vms, hosts=10_000)
    ]


def scaled(metric: str, model: str, line: Mapping[int, float]) -> list[Sample]:
    return [
        one
        for vms, value in line.items()
        for one in of(metric, value / 2, value, 9 * value, cluster=SHAPE, model=model, vms=vms, hosts=HOSTS)
    ]


def bent(by: float) -> dict[int, float]:
    """Three points off a line; R2 is 1 / (1 + by² / 3)."""
    return {1_000: 1.0, 2_000: 2.0 + by, 3_000: 3.0}


def knee(first: float, then: float, bent: float = 0.0) -> dict[int, float]:
    """Flows that grow as n to the `first` up to HOSTS, then to the `then`; the smallest network does not count."""
    line = {50: 9.0, **{vms: (vms / HOSTS) ** first for vms in (125, 250, 500)}, 1000: 2**then + bent, 2000: 4**then}
    return {vms: 1e4 * flows for vms, flows in line.items()}


def one(found: list[ClaimVerdict], word: str) -> ClaimVerdict:
    (verdict,) = (each for each in found if word in each.claim)
    return verdict


@pytest.mark.parametrize(
    ("by", "result", "r2"),
    [
        (0.174, "reproduced", "0.9900"),
        (0.175, "partly", "0.9899"),
        (0.397, "partly", "0.9501"),
        (0.398, "not", "0.9498"),
    ],
)
def test_the_hoverboard_model_grows_in_a_line(by: float, result: str, r2: str) -> None:
    (verdict,) = verdicts(ProgrammingTime, at_size("programming time", bent(by)))
    assert verdict.claim == "the Hoverboard model's programming time grows in a line"
    assert (verdict.paper, verdict.ours) == ("1.9 s at 40k VMs", f"R2 {r2}; 3.0 s at 3000 VMs")
    assert verdict.result == result


def test_processor_time_is_shown_beside_the_line_and_decides_nothing() -> None:
    samples = [*at_size("programming time", bent(0.0)), *at_size("processor time", bent(3.0))]
    (verdict,) = verdicts(ProgrammingTime, samples)
    assert verdict.result == "reproduced"
    assert verdict.ours == "R2 1.0000 (0.2500 of its processor time); 3.0 s at 3000 VMs"
    few = [*at_size("programming time", bent(0.0)), *at_size("processor time", {1_000: 1.0, 2_000: 1.0})]
    assert verdicts(ProgrammingTime, few)[0].ours == "R2 1.0000; 3.0 s at 3000 VMs"


def test_two_points_are_no_line() -> None:
    assert verdicts(ProgrammingTime, at_size("programming time", {1_000: 1.0, 2_000: 2.0})) == []


@pytest.mark.parametrize(
    ("mesh", "result", "ours"),
    [
        (knee(1.71, 1.29), "reproduced", "n to the 1.71 up to 500, then to the 1.29 (R2 of a line 0.9977)"),
        (knee(1.69, 1.29), "partly", "n to the 1.69 up to 500, then to the 1.29 (R2 of a line 0.9977)"),
        (knee(1.71, 1.31), "partly", "n to the 1.71 up to 500, then to the 1.31 (R2 of a line 0.9974)"),
        (knee(1.71, 1.0, bent=0.2), "reproduced", "n to the 1.71 up to 500, then to the 1.00 (R2 of a line 0.9944)"),
        (knee(1.71, 1.0, bent=0.3), "partly", "n to the 1.71 up to 500, then to the 1.00 (R2 of a line 0.9872)"),
        (knee(1.31, 1.0), "partly", "n to the 1.31 up to 500, then to the 1.00 (R2 of a line 1.0000)"),
        (knee(1.29, 1.0), "not", "n to the 1.29 up to 500, then to the 1.00 (R2 of a line 1.0000)"),
        (knee(1.0, 1.0), "not", "n to the 1.00 up to 500, then to the 1.00 (R2 of a line 1.0000)"),
    ],
)
@pytest.mark.parametrize("metric", ["flows", "programming time"])
def test_the_knee_of_the_mesh(metric: str, mesh: dict[int, float], result: str, ours: str) -> None:
    (verdict,) = verdicts(ProgrammingTime, scaled(metric, MESH, mesh))
    assert verdict.claim == f"preprogrammed, {metric}: the square of n until n = h, then a line"
    assert (verdict.result, verdict.ours) == (result, ours)
    assert verdict.paper == "knee at 10k VMs = 10k hosts"


def test_a_knee_needs_two_points_on_either_side_and_the_middle_one_is_on_both() -> None:
    (verdict,) = verdicts(ProgrammingTime, scaled("flows", MESH, {250: 1, 500: 4, 1000: 8}))
    assert (verdict.result, verdict.ours) == (
        "reproduced", "n to the 2.00 up to 500, then to the 1.00 (R2 of a line 1.0000)",
    )  # fmt: skip
    for line in ({250: 1.0, 500: 4.0}, {500: 4.0, 1000: 8.0}):
        assert verdicts(ProgrammingTime, scaled("flows", MESH, line)) == []
    assert verdicts(ProgrammingTime, scaled("flows", OURS, {250: 1, 500: 4, 1000: 8})) == []


@pytest.mark.parametrize(
    ("hosts", "mesh", "result", "ours", "expected"),
    [
        (1_500, 196, "reproduced", "49x", 48.8),
        (1_500, 194, "partly", "48x", 48.8),
        (1_500, 8.1, "partly", "2x", 48.8),
        (1_500, 8, "not", "2x", 48.8),
        (30, 4, "reproduced", "1x", 0.976),
    ],
)
def test_the_mesh_needs_hosts_times_the_flows(hosts: int, mesh: float, result: str, ours: str, expected: float) -> None:
    samples = [*scaled("flows", MESH, {10: 7, 20: mesh}), *scaled("flows", OURS, {10: 7, 20: 4})]
    verdict = one(verdicts(ProgrammingTime, samples, hosts=hosts), "hosts times the flows")
    assert (verdict.result, verdict.ours) == (result, ours)
    assert verdict.paper == f"325x at 10k hosts; {expected:.2g}x is that at {hosts}"
    assert verdict.ratio == pytest.approx(mesh / 4 / expected)


def test_more_flows_than_expected_begin_at_what_is_expected() -> None:
    samples = [*scaled("flows", MESH, {10: 7, 20: 1.22 * 1_500 / 37.5}), *scaled("flows", OURS, {10: 7, 20: 1.0})]
    assert one(verdicts(ProgrammingTime, samples, hosts=1_500), "hosts times the flows").result == "reproduced"


@pytest.mark.parametrize(
    ("first", "then", "r2", "result"),
    [
        (1.71, 1.29, 0.99, "reproduced"), (1.7, 1.29, 0.99, "partly"), (1.71, 1.3, 0.99, "partly"),
        (1.71, 1.29, 0.98, "partly"), (1.5, 1.2, 0.99, "not"), (1.5, 1.19, 0.99, "partly"),
    ],
)  # fmt: skip
def test_a_knee_at_each_threshold(
    monkeypatch: pytest.MonkeyPatch, first: float, then: float, r2: float, result: str
) -> None:
    exponents = iter([first, then])
    monkeypatch.setattr(programming_time, "exponent", lambda *_: next(exponents))
    monkeypatch.setattr(programming_time, "fit", lambda *_: SimpleNamespace(r2=r2))
    (verdict,) = verdicts(ProgrammingTime, scaled("flows", MESH, knee(2.0, 1.0)))
    assert verdict.result == result


@pytest.mark.parametrize(("r2", "result"), [(0.99, "reproduced"), (0.95, "partly")])
def test_a_line_at_each_threshold(monkeypatch: pytest.MonkeyPatch, r2: float, result: str) -> None:
    monkeypatch.setattr(programming_time, "fit", lambda *_: SimpleNamespace(r2=r2))
    (verdict,) = verdicts(ProgrammingTime, at_size("programming time", bent(0.0)))
    assert verdict.result == result


@pytest.mark.parametrize(
    ("mesh", "ours"),
    [
        ({10: 7}, {}),
        ({}, {10: 7}),
        ({10: 7, 20: 9}, {10: 7}),
        ({10: 7}, {20: 7}),
        ({10: 7, 20: 9, 30: 9}, {10: 7, 20: 9, 40: 9}),
    ],
)
def test_flows_are_compared_at_the_same_largest_size(mesh: dict[int, float], ours: dict[int, float]) -> None:
    assert verdicts(ProgrammingTime, [*scaled("flows", MESH, mesh), *scaled("flows", OURS, ours)]) == []


def test_the_largest_of_three_sizes_is_compared() -> None:
    samples = [*scaled("flows", MESH, {5: 1, 10: 7, 20: 400}), *scaled("flows", OURS, {4: 1, 11: 7, 20: 4})]
    assert one(verdicts(ProgrammingTime, samples), "hosts times the flows").ours == "100x"


def test_exponent() -> None:
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_charts_have_the_paper_s_curves_scaled_to_the_cluster() -> None:
    samples = [
        *scaled("programming time", MESH, {250: 1, 500: 4}), *scaled("programming time", OURS, {250: 2}),
        *scaled("flows", MESH, {250: 5}), *at_size("programming time", {1_000: 3}),
    ]  # fmt: skip
    drawn = charts(ProgrammingTime, samples, hosts=1_000)
    time, flows, size = drawn["programming-time"], drawn["flows"], drawn["hoverboard-at-size"]
    assert [(one.label, one.paper) for one in time.series] == [
        (MESH, False), (OURS, False), (MESH, True), (OURS, True),
    ]  # fmt: skip
    assert list(zip(time.series[0].x, time.series[0].y, strict=True)) == [(250, 1), (500, 4)]
    assert list(zip(time.series[1].x, time.series[1].y, strict=True)) == [(250, 2)]
    theirs = paper.curve("11a", OURS)
    assert list(time.series[3].x) == [pytest.approx(100 * x) for x in theirs.numbers()]  # thousands; a tenth
    assert list(size.series[1].x) == [pytest.approx(1000 * x) for x in theirs.numbers()]
    assert list(time.series[3].y) == list(size.series[1].y) == list(theirs.y)
    assert list(time.series[2].y) == list(paper.curve("11a", MESH).y)
    assert lines(flows) == {MESH: [(250, 5)], OURS: []}
    assert list(zip(size.series[0].x, size.series[0].y, strict=True)) == [(1_000, 3)]
    assert [(one.y, one.log_y) for one in drawn.values()] == [("seconds", True), ("flows", True), ("seconds", False)]
    assert time.note.endswith("times 0.1.")
    assert "at 1000 VMs" in flows.note
    assert time.title == "Programming time, 1000 hosts"
    assert flows.title == "Flows on all switches, 1000 hosts"


def test_points_are_each_model_at_each_size_and_the_hoverboard_model_at_the_papers() -> None:
    changed = {"hosts": 10, "sizes": (0.04, 2.0), "large": (100, 200), "large_hosts": 30}
    shape = [
        {"cluster": SHAPE, "model": model, "vms": vms, "hosts": 10} for vms in (1, 20) for model in (MESH, OURS)
    ]  # fmt: skip
    size = [{"cluster": SIZE, "model": OURS, "vms": vms, "hosts": 30} for vms in (100, 200)]
    assert ProgrammingTime().points(given(ProgrammingTime, models=(MESH, OURS), **changed)) == [*shape, *size]
    assert ProgrammingTime().points(given(ProgrammingTime, models=(MESH,), **changed)) == shape[::2]
