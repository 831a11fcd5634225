"""One point in a process of its own: what it is given, what comes back, and how it may fail."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controllers.fm.codec import decode_entity
from experiments.programming import point as module
from experiments.programming import point_process
from experiments.programming.point import Point
from experiments.programming.scaled_cluster import Cluster
from hoverboard.contract.entities import Host, Hoverboard, Network, Subnetwork
from hoverboard.contract.errors import MeasurementError
from hoverboard.contract.wire import fabric_pb2 as pb
from topologies.processes.launcher import python

POINT = Point("hoverboard", 5, 2, more=3)


class Process:
    """A process that prints what it should; `asked` is its command line, `request` what its file held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = 0, stdout: str = "{}", stderr: str = "") -> None:
        self._done = SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)
        self.late = False
        monkeypatch.setattr(point_process.subprocess, "run", self._run)

    def _run(self, argv: list[str], **settings: Any) -> Any:
        self.asked, self.settings = argv, settings
        self.request = Path(argv[-2]).read_bytes()
        if self.late:
            raise subprocess.TimeoutExpired(argv, settings["timeout"])
        return self._done


def test_a_point_is_measured_by_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(monkeypatch, stdout='{"flows": 7, "vms": 99}')
    assert point_process.run_point(POINT) == {
        "model": "hoverboard", "vms": 99, "hosts": 2, "hoverboards": 1, "switches": "sink", "more": 3, "flows": 7,
    }  # fmt: skip
    assert process.asked[:-2] == python("experiments.programming.point")
    assert Point(**json.loads(process.asked[-1])) == POINT
    assert len(pb.FullUpdateRequest.FromString(process.request).entities) == len(POINT.cluster.entities())
    assert process.settings["timeout"] == 600.0
    assert not Path(process.asked[-2]).exists()


def test_a_point_that_fails_or_takes_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(monkeypatch, code=1, stderr=f"Traceback{'x' * 2000}")
    with pytest.raises(MeasurementError) as caught:
        point_process.run_point(POINT)
    assert (caught.value.what, caught.value.where) == ("x" * 2000, str(POINT))
    process.late = True
    with pytest.raises(MeasurementError, match="not programmed after 600 s"):
        point_process.run_point(POINT)


def test_the_cluster_is_one_network_whose_vms_go_round_the_hosts() -> None:
    cluster = Cluster(vms=5, hosts=2, hoverboards=2)
    entities = cluster.entities()
    assert [type(one) for one in entities[:6]] == [Network, Subnetwork, Host, Host, Hoverboard, Hoverboard]
    assert [(vm.name, vm.host, str(vm.ip)) for vm in entities[6:]] == [  # type: ignore[union-attr]
        ("vm-0", "h0", "10.0.1.0"), ("vm-1", "h1", "10.0.1.1"), ("vm-2", "h0", "10.0.1.2"), ("vm-3", "h1", "10.0.1.3"),
        ("vm-4", "h0", "10.0.1.4"),
    ]  # fmt: skip
    assert [str(cluster.host(1).underlay_ip), str(cluster.hoverboard(1).underlay_ip)] == ["172.16.0.2", "172.20.0.2"]
    assert cluster.bindings(0) == {"vm-0": "vp0", "vm-2": "vp2", "vm-4": "vp4"}
    assert list(cluster.ports(0)) == ["vp0", "vp2", "vp4"]
    first = cluster.ports(1)["vp1"]
    assert cluster.ports(1) == {"vp1": first, "vp3": first + 1}
    assert cluster.as_dict() == {"vms": 5, "hosts": 2, "hoverboards": 2}


def test_the_request_holds_every_entity(tmp_path: Path) -> None:
    cluster = Cluster(vms=3, hosts=2)
    size = cluster.write_request(tmp_path / "request")
    raw = (tmp_path / "request").read_bytes()
    assert size == len(raw)
    assert [decode_entity(one) for one in pb.FullUpdateRequest.FromString(raw).entities] == cluster.entities()


def measured(point: Point, folder: Path) -> dict[str, Any]:
    point.cluster.write_request(folder / "request")
    return asyncio.run(module.measure(point, folder / "request"))


def test_a_point_in_sinks_counts_what_the_switches_would_hold(tmp_path: Path) -> None:
    found = measured(Point("hoverboard", 12, 3, hoverboards=2, more=2), tmp_path)
    by_class = found["flows_by_class"]
    assert found["flows"] == by_class["host"]["flows"] + by_class["hoverboard"]["flows"]
    assert (by_class["host"]["switches"], by_class["hoverboard"]["switches"]) == (3, 2)
    assert by_class["hoverboard"]["flows"] == 2 * by_class["hoverboard"]["largest"]
    assert by_class["hoverboard"]["largest"] > 12
    assert by_class["host"]["largest"] * 3 == by_class["host"]["flows"]  # four VMs on each
    assert found["bytes"] > 0
    assert found["programs"] >= 5
    assert len(found["one_more"]["samples"]) == 2
    assert min(found["one_more"]["samples"]) <= found["one_more"]["median"] <= max(found["one_more"]["samples"])
    seconds = found["seconds"]
    assert seconds["all"] == pytest.approx(seconds["decode"] + seconds["validate"] + seconds["program"])
    assert 0 < found["before_mib"] <= found["peak_mib"] + 1
    assert found["cpu_seconds"] >= 0


def test_a_mesh_holds_every_vm_on_every_host_and_no_vm_more_is_added_unless_asked(tmp_path: Path) -> None:
    few, more = (measured(Point("preprogrammed", vms, 2), tmp_path) for vms in (4, 8))
    assert "one_more" not in few
    assert more["flows_by_class"]["host"]["largest"] - few["flows_by_class"]["host"]["largest"] >= 4


def test_memory_is_given_in_mib() -> None:
    assert 10 < module.resident_mib() <= module.peak_mib() + 1


def test_the_command_line_prints_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Point, Path]] = []
    thresholds: list[tuple[int, int, int]] = []

    async def measure(point: Point, request: Path) -> dict[str, int]:
        asked.append((point, request))
        return {"flows": 7}

    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(module.gc, "set_threshold", lambda *given: thresholds.append(given))
    monkeypatch.setattr(sys, "argv", ["point", "/a/request", '{"model": "gateway", "vms": 3, "hosts": 1}'])
    module.main()
    assert json.loads(capsys.readouterr().out) == {"flows": 7}
    assert asked == [(Point("gateway", 3, 1), Path("/a/request"))]
    assert thresholds == [(100_000, 20, 100)]
