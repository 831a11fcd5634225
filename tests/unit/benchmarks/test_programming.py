"""The programming benchmark: which points, fits, extrapolation, sinks against switches, bars."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks import programming
from benchmarks.programming import bars, disagreements, mesh_at_paper, options, polynomial, quadratic, shown
from experiments.programming.point import Point, measure


def test_a_line_and_the_share_of_the_variance_that_it_explains() -> None:
    assert polynomial([1, 2, 3], [5, 7, 9], 1) == (pytest.approx([2, 3]), pytest.approx(1))
    # 0.8 x + 1.3: the residuals' squares are 1.8 of 5.
    assert polynomial([0, 1, 2, 3], [1, 3, 2, 4], 1) == (pytest.approx([0.8, 1.3]), pytest.approx(0.64))
    assert polynomial([0, 1, 2], [1, 2, 9], 2)[0] == pytest.approx([3, -2, 1])


def test_what_grows_above_the_smallest_size_is_extrapolated_by_the_square() -> None:
    assert quadratic([10, 20, 40], [100 + 3 * n * n for n in (10, 20, 40)], 80) == pytest.approx(100 + 3 * 6400)
    # From 10 to 40 it grew by 1500, which is one for each of 40² - 10².
    assert quadratic([40, 20, 10], [1700, 999, 200], 80) == pytest.approx(200 + 6400 - 100)


def point(model: str = "hoverboard", vms: int = 1_000, **changed: Any) -> dict[str, Any]:
    by_class = {"host": {"largest": 7}, "hoverboard": {"largest": 8}}
    return {
        "model": model, "vms": vms, "hosts": vms // 4, "hoverboards": 1, "switches": "sink", "flows": 100,
        "flows_by_class": by_class, "seconds": {"all": 1.0}, "cpu_seconds": 0.5, "peak_mib": 100.0, "bytes": 2_500_000,
        "one_more": {"median": 0.01},
    } | changed  # fmt: skip


def test_different_counts_of_the_same_point_are_reported() -> None:
    sink = point(flows_by_class={"host": 7})
    assert disagreements([sink, sink | {"switches": "ovs"}]) == []
    other = sink | {"switches": "ovs", "flows_by_class": {"host": 8}}
    assert disagreements([sink, other]) == ["hoverboard: {'host': 8} and {'host': 7}"]
    for key in ("model", "vms", "hosts", "hoverboards", "switches"):
        assert disagreements([sink, other | {key: "sink" if key == "switches" else 99}]) == []


def figures(**changed: Any) -> dict[str, Any]:
    """A mesh of 1000 and 2000 VMs that grows by the square, a line, and the paper's size."""
    mesh = [
        point("preprogrammed", vms, flows=vms * vms, seconds={"all": vms * vms / 1e6}, peak_mib=vms * vms / 1e5)
        for vms in (1_000, 2_000)
    ]
    line = [point(vms=vms, seconds={"all": vms / 1e4}) for vms in (1_000, 50_000, 99_000)]
    paper = point(vms=40_000, flows=16_000_000, seconds={"all": 1600 / 39}, peak_mib=800.0)
    found = {"agreement": [], "mesh": mesh, "line": line, "paper": paper, "points": [*mesh, *line, paper]}
    return found | changed


def test_the_mesh_at_the_paper_s_size_is_extrapolated() -> None:
    assert mesh_at_paper(figures()) == pytest.approx({"flows": 1.6e9, "seconds": 1600, "mib": 16_000})


def values(**changed: Any) -> list[tuple[float, bool]]:
    return [(pytest.approx(bar.value), bar.passed) for bar in bars(figures(**changed))]


def test_bars() -> None:
    assert values() == [
        (0, True), (100, True), (39, True), (20, True), (9.9, True), (100, True), (1, True), (1, True),
    ]  # fmt: skip
    paper = figures()["paper"]
    slower = paper | {"flows": 16_100_000, "seconds": {"all": 41.1}, "peak_mib": 801.0}
    assert [passed for _, passed in values(paper=slower)] == [True, *[False] * 3, *[True] * 4]
    twice = [point(flows_by_class={"host": 7}), point(flows_by_class={"host": 8}, switches="ovs")]
    assert values(agreement=twice)[0] == (1, False)
    line = figures()["line"]
    large = line[2] | {"seconds": {"all": 10.0}, "peak_mib": 1024.0, "one_more": {"median": 0.0151}}
    assert values(line=[*line[:2], large])[4:] == [
        (10.0, False), (1024.0, False), (pytest.approx(1, abs=0.001), True), (1.51, False),
    ]  # fmt: skip
    bent = line[1] | {"seconds": {"all": 8.0}}
    assert values(line=[line[0], bent, line[2]])[6][1] is False
    assert bars({"points": []}) == []


def test_bars_name_their_sizes() -> None:
    names = [bar.what for bar in bars(figures())]
    assert names[1] == "40000 VMs on 10000 hosts, preprogrammed (extrapolated) / hoverboard: flows"
    assert names[4] == "99000 VMs, hoverboard: full update to all programmed"
    assert names[7] == "one VM more: controller work at 99000 / at 1000"


def test_tables_have_a_line_a_point_and_the_extrapolated_mesh() -> None:
    points, mesh = shown(figures())
    assert [list(column.cells)[2] for column in points.columns] == [
        "hoverboard", "1000", "250", "sink", "100", "7", "8", "0.10", "0.50", "100", "2.5",
    ]  # fmt: skip
    assert [list(column.cells) for column in mesh.columns] == [["1.6e+09"], ["1600"], ["16"]]
    without = point()
    del without["bytes"]
    (alone,) = shown({"points": [without]})
    assert list(alone.columns[10].cells) == [""]


def test_points_are_those_asked_for_or_all_that_the_bars_need(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Point] = []
    monkeypatch.setattr(programming, "run_point", lambda one: (asked.append(one), {"vms": one.vms})[1])
    shares: list[tuple[str, float]] = []
    few = programming.measure(
        options(["--vms", "3", "8", "--models", "gateway"]), lambda what, share: shares.append((what, share))
    )
    assert few == {"points": [{"vms": 3}, {"vms": 8}]}
    assert asked == [Point("gateway", 3, 1), Point("gateway", 8, 2)]
    assert shares == [
        ("gateway: 3 VMs on 1 hosts (sink)", 0.0), ("gateway: 8 VMs on 2 hosts (sink)", 0.5),
    ]  # fmt: skip
    asked.clear()
    programming.measure(options(["--vms", "8", "--hosts", "5", "--models", "gateway"]), lambda what, share: None)
    assert asked == [Point("gateway", 8, 5)]
    asked.clear()
    whole = programming.measure(options(["--largest-mesh", "4000", "--models", "gateway"]), lambda what, share: None)
    assert whole["agreement"] == [{"vms": 400}] * 2
    assert (whole["paper"], [one["vms"] for one in whole["mesh"]]) == ({"vms": 40_000}, [1000, 2000, 4000])
    assert [one["vms"] for one in whole["line"]] == [1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
    assert [one.switches for one in asked[:2]] == ["sink", "ovs"]
    assert (asked[2], asked[3]) == (Point("hoverboard", 40_000, 10_000), Point("preprogrammed", 1000, 250))
    assert asked[-1] == Point("hoverboard", 100_000, 10_000, more=200)


def test_options() -> None:
    assert (options([]).vms, options([]).hosts, options([]).largest_mesh) == (None, None, 8000)
    for wrong in (["--hosts", "3"], ["--vms", "0"], ["--vms", "3", "--hosts", "0"], ["--largest-mesh", "1999"]):
        with pytest.raises(SystemExit):
            options(wrong)
    assert options(["--largest-mesh", "2000"]).largest_mesh == 2000


def test_a_point_counts_what_the_controller_expects(tmp_path: Path) -> None:
    point = Point("hoverboard", 12, 3, more=2)
    point.cluster.write_request(tmp_path / "request")
    found = asyncio.run(measure(point, tmp_path / "request"))
    assert found["flows"] == sum(one["flows"] for one in found["flows_by_class"].values())
    assert found["flows_by_class"]["hoverboard"]["flows"] > 12
    assert found["flows_by_class"]["host"]["switches"] == 3
    assert len(found["one_more"]["samples"]) == 2
