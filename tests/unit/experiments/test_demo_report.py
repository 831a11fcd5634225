"""The demonstration's summary, table, CSV and report from results made up here: no testbed, no root."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from console import tables
from experiments import demo_report, iperf_output, picture, ping_output
from experiments.demo import DemoSpec, _Steps
from experiments.demo_results import DemoResult, Generation, PingCell, Throughput
from experiments.isolation import ForeignAddress, Isolation, SameAddress
from experiments.path import PathPoint, Timeline
from topologies import schema

DATA = Path(__file__).parent / "data"


def generation(dataplane: str, scale: float) -> Generation:
    iperf3 = iperf_output.parse((DATA / "tcp-1.json").read_text())
    ping = ping_output.parse((DATA / "ping-ok.txt").read_text())
    points = tuple(PathPoint(at / 4, min(at, 5) * 1_000_000, max(0, at - 5) * 9_000_000) for at in range(29))
    assert ping.avg_ms is not None
    return Generation(
        dataplane=dataplane,
        run=f"demo-{dataplane}",
        up_seconds=2.5,
        phases={"nodes": 0.4, "hosts": 1.2},
        servers={"h1": {"datapath_type": "netdev", "counters": {"rx_packets": 1}}},
        matrix=(PingCell("blue", "blue-1", "blue-2", 3, 3, 0.2), PingCell("blue", "blue-2", "blue-1", 3, 2, 0.2)),
        isolation=Isolation(
            (SameAddress("blue", "10.0.0.3", "blue-1", "blue-2", "red-2", 10, 10, 0),),
            (ForeignAddress("blue", "blue-1", "10.0.0.5", "red-only", "red", 10, 0, 0, 3),),
        ),
        latency_hoverboard=ping,
        latency_hoverboard_stayed=True,
        latency_direct=replace(ping, avg_ms=ping.avg_ms / scale),
        timeline=Timeline("10.0.0.2", "10.0.0.3", points, 1.2, (), iperf3),
        throughput=(Throughput(1, replace(iperf3, bps=1e9 * scale), 0),),
    )


@pytest.fixture
def result() -> DemoResult:
    topology = schema.load("demo")
    return DemoResult(
        DemoSpec().parameters(topology), topology, (generation("fastpath", 12), generation("ovs", 1)), 61.0
    )


def broken(result: DemoResult, **changes: Any) -> DemoResult:
    return replace(result, generations=(replace(result.generations[0], **changes), result.generations[1]))


def test_ratios_and_checks(result: DemoResult) -> None:
    summary = result.summary({})
    assert summary["ok"]
    assert summary["ratios"]["throughput"]["1"] == pytest.approx(12)
    assert summary["ratios"]["latency_direct"] == pytest.approx(12)
    assert len(summary["checks"]) == 6


def test_each_check_can_fail(result: DemoResult) -> None:
    silent = (PingCell("blue", "blue-1", "blue-2", 3, 0, None),)
    relayed = Timeline("10.0.0.2", "10.0.0.3", (PathPoint(0.0, 0, 0), PathPoint(1.0, 99, 0)))
    for change in ({"matrix": silent}, {"isolation": Isolation((), ())}, {"timeline": relayed}):
        summary = broken(result, **change).summary({})
        assert not summary["ok"]
        assert sum(not check["ok"] for check in summary["checks"]) == 1


def test_files(result: DemoResult, tmp_path: Path) -> None:
    summary = demo_report.write(result, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(summary))
    raw = json.loads((tmp_path / "raw" / "fastpath-iperf3-1-streams.json").read_text())
    assert raw["end"]["sum_received"]["bits_per_second"] > 0
    with (tmp_path / "demo.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["quantity"] for row in rows} >= {"throughput", "round trip", "path rate", "start-up"}
    for name in ("path-fastpath", "path-ovs", "throughput", "latency"):
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(tmp_path / "figures" / f"{name}.svg")


def test_report_stands_alone(result: DemoResult, tmp_path: Path) -> None:
    demo_report.write(result, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "all checks passed" in page
    assert page.count("<svg") == 5
    assert not re.search(r'(src|href)="(?!#)', page), "the report must not need another file"
    for word in ("12.0 ×", "no 40 Gbit/s network", "does not give the interval", "sudo ./bootstrap.sh demo"):
        assert word in page


def test_report_of_a_flow_that_was_never_offloaded(result: DemoResult, tmp_path: Path) -> None:
    empty = broken(result, timeline=Timeline("10.0.0.2", "10.0.0.3", (PathPoint(0.0, 0, 0),)))
    demo_report.write(empty, tmp_path)
    assert "never offloaded" in (tmp_path / "report.html").read_text()


def test_picture_names_everything() -> None:
    topology = schema.load("demo")
    drawn = picture.draw(topology, ("blue-1", "blue-2"))
    words = "".join(ElementTree.fromstring(drawn).itertext())
    for name in ("Hoverboard hv1", "h1", "h3", "blue-1", "red-3", "VNI 7", "VNI 8", "172.16.255.1"):
        assert name in words


def test_picture_of_a_large_topology_stays_small() -> None:
    assert "(+ 14 hosts)" in picture.draw(schema.load("rack"))


def test_progress_never_goes_back() -> None:
    seen: list[float] = []
    steps = _Steps(DemoSpec(), lambda step, share: seen.append(share))
    for dataplane in ("fastpath", "ovs"):
        for step in ("starting", "isolation", "pings", "following one flow", "throughput", "stopping"):
            steps.begin(dataplane, step)
            steps.detail("more")
    assert seen == sorted(seen)
    assert seen[-1] < 1


def test_path_table_has_a_row_a_second(result: DemoResult) -> None:
    points = result.summary({})["generations"][0]["path"]["points"]
    assert [point["at"] for point in tables.whole_seconds(points)] == [1, 2, 3, 4, 5, 6, 7]
