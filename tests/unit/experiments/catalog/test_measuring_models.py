"""What the experiments on models and on first packets make of pings, counters and floods."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.catalog import models, on_demand_collapse
from experiments.catalog.models import Models
from experiments.catalog.on_demand_collapse import OnDemandCollapse
from experiments.observe import cpu_window, hoverboard_counters, run_cost
from experiments.observe.cpu_window import ProcessTime, Reading
from experiments.observe.run_cost import RunProcess
from experiments.tools import ping
from experiments.tools.ping_output import PingResult
from experiments.workload import traffic, vm_join
from experiments.workload.traffic import Datagram
from tests.unit.experiments.fake_testbed import FakeExchange, FakeTestbed, ScriptedBench, errors, exchanged, measured
from topologies.processes.process_table import Process
from topologies.run import host_pairs


def pinged(*milliseconds: float, sent: int = 8) -> PingResult:
    return PingResult(sent, len(milliseconds), None, None, None, None, milliseconds, f"{len(milliseconds)} of {sent}")


class Cluster:
    """A testbed in which pings take what they should; eight are a pair's first, five its later ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *first: PingResult, steady: PingResult | None = None) -> None:
        exchanged(monkeypatch, models)
        self.pings: list[tuple[Any, ...]] = []
        self._first, self._steady = list(first), steady if steady is not None else pinged(1.0, 3.0, 2.0)
        counted = iter([100, 130])
        readings = iter(
            Reading(seconds, 0.0, 0.0, {5: ProcessTime(seconds, 1, False), 6: ProcessTime(2 * seconds, 1, False)})
            for seconds in (1.0, 1.5)
        )
        members = [RunProcess(Process(5, 0), "control plane"), RunProcess(Process(6, 0), "host process")]
        monkeypatch.setattr(hoverboard_counters, "received", lambda testbed: next(counted))
        monkeypatch.setattr(cpu_window, "read", lambda: next(readings))
        monkeypatch.setattr(run_cost, "run_processes", lambda run: members if run == "made-up" else [])
        monkeypatch.setattr(ping, "measure", self._ping)
        monkeypatch.setattr(FakeExchange, "lost", staticmethod(lambda one: one.flow == 0))

    def prepare(self, testbed: FakeTestbed) -> None:
        testbed.control = {"switches": {"h1": {"flows": 7}, "h2": {"flows": 8}, "hv1": {"flows": 99}}}

    def _ping(self, source: Any, address: str, **settings: Any) -> PingResult:
        self.pings.append((source.name, address, settings))
        return self._first.pop(0) if settings["count"] == 8 else self._steady


POINT = {"model": "gateway"}


def test_a_model_s_round_trips_state_and_load(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [pinged(9.0, 5.0, 5.0, 1.0, 2.0, 6.0), pinged(8.0, 5.0, 5.0, 4.0), pinged(7.0, 5.0, 5.0)]
    cluster = Cluster(monkeypatch, *first)
    bench = ScriptedBench(cluster.prepare)
    found = measured(Models, POINT, bench, vms=6, pairs=3, seconds=4.0)
    assert found["first round trip"][:2] == [(9.0, "ms", POINT), (8.0, "ms", POINT)]
    assert found["later round trip"] == [(2.0, "ms", POINT), (4.0, "ms", POINT)]  # the median from the fourth on
    assert found["steady round trip"] == [(2.0, "ms", POINT)] * 3
    assert found["control plane CPU"] == [(pytest.approx(500 / 3), "ms a pair", POINT)]
    assert found["flows on a host"] == [(7.0, "flows", POINT), (8.0, "flows", POINT)]
    assert found["flows on a Hoverboard"] == [(99.0, "flows", POINT)]
    # 200 kbit/s of 600 bytes are 42 datagrams a second of each; those of the third quarter of four seconds count.
    exchange = FakeExchange.made[0]
    counted = sum(2.0 <= one.at < 3.0 for one in exchange.due)
    assert found["over Hoverboards"] == [(pytest.approx(30 / counted), "share of datagrams", POINT)]
    assert counted == pytest.approx(3 * 41.7, abs=3)
    assert found["lost"] == [(pytest.approx(1 / 3, abs=0.01), "share of datagrams", POINT)]
    (testbed,) = bench.testbeds
    assert (testbed.topology.model, len(testbed.topology.hosts), len(testbed.topology.hoverboards)) == ("gateway", 3, 1)
    assert (len(testbed.topology.vms), testbed.topology.report_interval, bench.fresh_ones) == (6, 0.5, 1)
    addresses = {vm.name: str(vm.ip) for vm in testbed.topology.vms}
    host = {vm.name: vm.host for vm in testbed.topology.vms}
    chosen = [(flow.src, flow.dst) for flow in exchange.flows]
    assert {flow.rate_bps for flow in exchange.flows} == {200_000.0}
    assert max(one.size for one in exchange.due) == 600
    assert all(host[src] != host[dst] for src, dst in chosen)
    once = {"count": 8, "interval": 0.05, "wait": 2.0}
    again = {"count": 5, "interval": 0.02, "wait": 1.0}
    assert cluster.pings == [(src, addresses[dst], each) for each in (once, again) for src, dst in chosen]
    assert bench.kept[f"ping-{chosen[1][0]}-{chosen[1][1]}"] == "4 of 8"
    assert bench.kept[f"steady-ping-{chosen[0][0]}-{chosen[0][1]}"] == "3 of 8"
    assert len(bench.kept["flows"]) == 3


def test_pairs_that_do_not_answer_are_failed_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, pinged(9.0, 1.0, 1.0), pinged(9.0, 1.0, 1.0, 1.0), steady=pinged(sent=5))
    found = errors(Models, POINT, ScriptedBench(cluster.prepare), vms=6, pairs=2, seconds=2.0)
    pairs = [(flow.src, flow.dst) for flow in FakeExchange.made[0].flows]
    assert [(one.metric, one.unit, one.error) for one in found] == [
        ("first round trip", "ms", f"{pairs[0][0]} to {pairs[0][1]}: 3 of 8"),
        *(("steady round trip", "ms", f"{src} to {dst}: nothing came back") for src, dst in pairs),
    ]


def test_a_control_plane_that_did_nothing_spent_nothing_and_four_pairs_are_pinged_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, *[pinged(1.0, 1.0, 1.0, 1.0)] * 5)
    monkeypatch.setattr(run_cost, "run_processes", lambda run: [])
    found = measured(Models, POINT, ScriptedBench(cluster.prepare), vms=12, pairs=5, seconds=2.0)
    assert found["control plane CPU"] == [(0.0, "ms a pair", POINT)]
    assert len(found["steady round trip"]) == 4


@pytest.mark.parametrize("at", [1.2, 0.1])
def test_one_datagram_or_none_is_something_to_divide_by(monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    cluster = Cluster(monkeypatch, *[pinged(1.0, 1.0, 1.0, 1.0)] * 2)
    monkeypatch.setattr(traffic, "schedule", lambda *given: [Datagram(at, 0, 600)])
    found = measured(Models, POINT, ScriptedBench(cluster.prepare), vms=6, pairs=2, seconds=2.0)
    assert found["over Hoverboards"] == [(30.0, "share of datagrams", POINT)]


class Crowd:
    """VMs that reach for destinations beside bystanders, whose pings take what they should."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: float | None) -> None:
        self.floods: list[tuple[Any, ...]] = []
        self.pings: list[tuple[Any, ...]] = []
        self.loaded: list[Any] = []
        self.asked = 0
        self._answers = list(answers)
        monkeypatch.setattr(on_demand_collapse, "flooding", self._flooding)
        if len(answers) < 12:
            monkeypatch.setattr(on_demand_collapse, "_VICTIMS", len(answers))
        monkeypatch.setattr(ping, "measure", self._ping)
        monkeypatch.setattr(vm_join, "load_intent", lambda testbed, vms: self.loaded.append(vms))
        monkeypatch.setattr(
            vm_join, "entities", lambda network, hosts: (SimpleNamespace(ip=f"{hosts[0]}-{n}") for n in range(10**6))
        )

    def prepare(self, testbed: FakeTestbed) -> None:
        testbed.control_status = self._control  # type: ignore[method-assign]

    def _control(self) -> dict[str, Any]:
        counters = {"packets_in": 10 + self.asked, "packets_in_limited": 5 + 2 * self.asked, "packets_in_unknown": 1}
        return {"counters": counters}

    @contextlib.contextmanager
    def _flooding(self, testbed: FakeTestbed, *given: Any) -> Iterator[Any]:
        self.floods.append(given)
        yield SimpleNamespace(sent=321)
        self.asked = 7

    def _ping(self, source: Any, address: str, **settings: Any) -> PingResult:
        self.pings.append((source.name, address, settings))
        answer = self._answers.pop(0)
        return pinged(*([] if answer is None else [answer]), sent=1)


def test_bystanders_are_pinged_once_beside_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, 5.0, None, 7.0)
    bench = ScriptedBench(crowd.prepare)
    point = {"model": "on-demand", "flooders": 2, "first packets a second": 80}
    found = measured(OnDemandCollapse, point, bench, flooders=(0, 2, 4), destinations=3)
    assert found == {
        "answered": [(1.0, "share", point), (0.0, "share", point), (1.0, "share", point)],
        "first round trip": [(5.0, "ms", point), (7.0, "ms", point)],
        "sent": [(321.0, "first packets", point)],
        "asked": [(7.0, "packets to the controller", point)],
        "over the limit": [(14.0, "packets to the controller", point)],
        "unknown": [(0.0, "packets to the controller", point)],
    }
    (testbed,) = bench.testbeds
    assert (testbed.topology.model, len(testbed.topology.hosts), len(testbed.topology.hoverboards)) == (
        "on-demand",
        2,
        1,
    )
    assert {server.dataplane for server in testbed.topology.servers} == {"ovs"}
    assert len(testbed.topology.vms) == 4 + 2 * 3 + 2  # of the largest load, the bystanders, and those of the start
    assert [one.ip for one in crowd.loaded[0]] == ["h1-0", "h1-1", "h1-2"]
    assert crowd.floods == [(["blue-9", "blue-10"], ["h1-0", "h1-1", "h1-2"], 40)]
    assert crowd.pings == [
        (src, address, {"count": 1, "wait": 1.0})
        for src, address in (("blue-3", "10.0.0.5"), ("blue-5", "10.0.0.7"), ("blue-7", "10.0.0.9"))
    ]


def test_twelve_are_pinged_and_the_fast_path_may_be_flooded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, *[1.0] * 12)
    bench = ScriptedBench(crowd.prepare)
    point = {"model": "hoverboard", "flooders": 0, "first packets a second": 0}
    measured(OnDemandCollapse, point, bench, flooders=(0,), dataplane="fastpath", destinations=1)
    assert {server.dataplane for server in bench.testbeds[0].topology.servers} == {"fastpath"}
    assert (len(crowd.pings), len(bench.testbeds[0].topology.vms)) == (12, 26)


def test_pairs_that_the_start_has_pinged_do_not_meet_for_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, *[pinged(9.0, 1.0, 1.0, 1.0)] * 3)
    bench = ScriptedBench(cluster.prepare)
    measured(Models, POINT, bench, vms=12, pairs=3, seconds=2.0)
    known = host_pairs.pinged(bench.testbeds[0].topology)
    assert len(known) == 6
    address = {str(vm.ip): vm.name for vm in bench.testbeds[0].topology.vms}
    assert not {address[to] for _, to, settings in cluster.pings if settings["count"] == 8} & known
