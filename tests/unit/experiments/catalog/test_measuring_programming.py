"""What the experiments on programming make of points and of VMs that join."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.catalog import programming_latency, programming_time
from experiments.catalog.programming_latency import CHURNING, FAIR, QUIET, SHARED, ProgrammingLatency
from experiments.catalog.programming_time import ProgrammingTime
from experiments.programming.point import Point
from experiments.workload import vm_join
from experiments.workload.vm_churn import Rounds
from experiments.workload.vm_join import Answer
from hoverboard.contract.errors import RunError
from tests.unit.experiments.fake_testbed import ScriptedBench, errors, measured
from topologies.cluster.control_processes import ControlLayout


def test_programming_time_is_one_point_s_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Point] = []
    figures = {"seconds": {"all": 1.5, "program": 9.0}, "cpu_seconds": 1.25, "flows": 7, "peak_mib": 64.0, "bytes": 800}
    monkeypatch.setattr(programming_time, "run_point", lambda point: (asked.append(point), figures)[1])
    bench, point = ScriptedBench(), {"cluster": "scaled down", "model": "gateway", "vms": 20, "hosts": 10}
    assert measured(ProgrammingTime, point, bench) == {
        "programming time": [(1.5, "s", point)],
        "processor time": [(1.25, "s", point)],
        "flows": [(7, "flows", point)],
        "peak memory": [(64.0, "MiB", point)],
        "to switches": [(800, "bytes", point)],
    }
    assert asked == [Point("gateway", 20, 10)]
    assert bench.kept == {"point": figures}


def test_recorded_changes_are_of_four_vms_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Point] = []
    figures = {"one_more": {"samples": [0.001, 0.0025]}}
    monkeypatch.setattr(programming_latency, "run_point", lambda point: (asked.append(point), figures)[1])
    point, bench = {"model": "preprogrammed", "recorded": 50}, ScriptedBench()
    assert measured(ProgrammingLatency, point, bench, add=6) == {
        "controller work": [(1.0, "ms", point), (2.5, "ms", point)]
    }  # fmt: skip
    assert asked == [Point("preprogrammed", 200, 50, more=6)]
    assert bench.testbeds == []


class Joins:
    """VMs that join: who was loaded, who churns, and what each answer is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: float | Exception, error: str = "") -> None:
        self.loaded: list[Any] = []
        self.churned: list[Any] = []
        self.joined: list[str] = []
        self._answers, self._error = list(answers), error
        monkeypatch.setattr(vm_join, "entities", self._entities)
        monkeypatch.setattr(vm_join, "load_intent", lambda testbed, vms: self.loaded.append(vms))
        monkeypatch.setattr(vm_join, "join_one", self._by_diff)
        monkeypatch.setattr(programming_latency, "churning", self._churning)

    def _entities(self, network: Any, hosts: list[str]) -> Iterator[str]:
        assert hosts == ["h1", "h2", "h3"]
        return (f"{network.name}-{number}" for number in range(10_000))

    def _by_diff(self, testbed: Any, network: str) -> Answer:
        self.joined.append(network)
        found = self._answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return Answer(found, 99.0)

    @contextlib.contextmanager
    def _churning(self, testbed: Any, vms: Any) -> Iterator[Rounds]:
        self.churned.append(vms)
        rounds = Rounds()
        yield rounds
        rounds.done, rounds.error = 12, self._error


def test_vms_join_a_network_beside_a_quiet_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    joins = Joins(monkeypatch, 5.0, 7.0)
    bench, point = ScriptedBench(), {"model": "preprogrammed", "neighbour": QUIET, "queue": FAIR}
    assert measured(ProgrammingLatency, point, bench, base=3, add=2, churn=10) == {
        "joined": [(5.0, "ms", point), (7.0, "ms", point)]
    }  # fmt: skip
    assert joins.loaded == [["blue-0", "blue-1", "blue-2"]]
    assert (joins.churned, joins.joined) == ([], ["blue", "blue"])
    (testbed,) = bench.testbeds
    assert (testbed.topology.model, testbed.options, bench.fresh_ones) == (
        "preprogrammed",
        {"control": ControlLayout()},
        1,
    )
    assert bench.said == [
        "programming-latency: loading 3 VMs", "programming-latency: preprogrammed, quiet, VM 1",
        "programming-latency: preprogrammed, quiet, VM 2",
    ]  # fmt: skip


@pytest.mark.parametrize(("queue", "shared"), [(FAIR, False), (SHARED, True)])
def test_vms_join_beside_a_churning_neighbour(monkeypatch: pytest.MonkeyPatch, queue: str, shared: bool) -> None:
    joins = Joins(monkeypatch, 5.0)
    bench, point = ScriptedBench(), {"model": "hoverboard", "neighbour": CHURNING, "queue": queue}
    assert measured(ProgrammingLatency, point, bench, base=0, add=1, churn=2) == {
        "joined": [(5.0, "ms", point)], "churn": [(12.0, "times all joined or left", point)],
    }  # fmt: skip
    assert (joins.loaded, joins.churned) == ([], [["red-0", "red-1"]])
    assert bench.testbeds[0].options == {"control": ControlLayout(shared_queue=shared)}


def test_a_vm_that_does_not_answer_is_a_failed_sample_and_so_is_a_churn_that_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Joins(monkeypatch, RunError("no answer"), 5.0, error="the control plane is gone")
    bench, point = ScriptedBench(), {"model": "hoverboard", "neighbour": CHURNING, "queue": FAIR}
    found = errors(ProgrammingLatency, point, bench, base=0, add=2, churn=1)
    assert [(one.metric, one.unit, one.error) for one in found] == [
        ("joined", "ms", "no answer"), ("churn", "", "the control plane is gone"),
    ]  # fmt: skip
    assert [one.labels for one in found] == [point, point]
