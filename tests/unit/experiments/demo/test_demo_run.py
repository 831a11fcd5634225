"""The demonstration on a testbed that is made up: what is measured, between whom, and what is undone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from experiments.demo import demo
from experiments.demo.demo import DemoSpec
from experiments.demo.demo_results import DemoResult, PingCell, Throughput
from experiments.observe import tenant_isolation
from experiments.observe.flow_path import Timeline
from experiments.tools import iperf, ping
from experiments.tools.iperf import IperfSpec
from experiments.tools.ping_output import PingResult
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.demo.demonstration import FOREIGN, SAME, pings, tcp
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.spec.topology import Topology

SPEC = DemoSpec(generations=("fastpath", "ovs"), streams=(1, 16), seconds=4, omit=1, follow_seconds=7)


class DemoTestbed(FakeTestbed):
    """A testbed whose Hoverboard receives 1000 bytes more at each look; `made` are all so far."""

    made: ClassVar[list[DemoTestbed]] = []
    fails: ClassVar[bool] = False

    def __init__(self, topology: Topology, *, run: str) -> None:
        super().__init__(topology, {}, self._status)
        self.run, self.is_up, self.received, self.looks = run, False, 0, 0
        self.added: list[tuple[str, str, str]] = []
        self.removed: list[str] = []
        self.phases = {"nodes": 0.25}
        DemoTestbed.made.append(self)

    def _status(self, name: str) -> dict[str, Any]:
        if name == "hv1":
            self.received += 1_000
        return {"name": name, "counters": {"rx_bytes": self.received}, "next_report_seconds": self._left(name)}

    def _left(self, name: str) -> float:
        """Of h1's report interval; the third look is in the next one."""
        self.looks += name == "h1"
        return (0.75, 0.70, 0.99, 0.5)[self.looks - 1]

    def up(self, progress: Any) -> None:
        progress(SimpleNamespace(phase="nodes", done=1, total=3, note=""))
        if DemoTestbed.fails:
            raise MeasurementError("it does not come up")
        self.is_up = True

    def down(self) -> None:
        self.is_up = False

    def pid_of(self, name: str) -> int:
        return 1 if name.endswith("-only") else super().pid_of(name)

    def host_client(self, name: str) -> Any:
        client = super().host_client(name)
        client.flows = list
        return client

    def offloads(self) -> list[dict[str, Any]]:
        return [
            {"network": "red", "src": "blue-1", "dst": "blue-2", "since": 1.0},
            {"network": "blue", "src": "blue-1", "dst": "blue-3", "since": 2.0},
            {"network": "blue", "src": "blue-3", "dst": "blue-2", "since": 3.0},
            *([{"network": "blue", "src": "10.0.0.2", "dst": "10.0.0.3", "since": 4}] if self.standing else []),
        ]

    def add_vm(self, network: str, name: str, host: str) -> Any:
        self.added.append((network, name, host))
        return SimpleNamespace(name=name, ip="10.0.0.5")

    def remove_vm(self, name: str) -> None:
        self.removed.append(name)


class Tools:
    """Pings, iperf3, proofs and looks, as they are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, silent: frozenset[int] = frozenset()) -> None:
        self.pings: list[tuple[str, str, dict[str, Any]]] = []
        self.runs: list[tuple[str, str, str, IperfSpec]] = []
        self.proofs: list[tuple[Any, ...]] = []
        self.samplers: list[tuple[Any, ...]] = []
        self._silent = silent  # counts of pings that stay without an answer
        monkeypatch.setattr(demo, "Testbed", DemoTestbed)
        monkeypatch.setattr(DemoTestbed, "made", [])
        monkeypatch.setattr(ping, "measure", self._ping)
        monkeypatch.setattr(iperf, "measure", self._measure)
        monkeypatch.setattr(iperf, "started", self._started)
        monkeypatch.setattr(tenant_isolation, "same_address", lambda *given: (self.proofs.append(given), [SAME])[1])
        monkeypatch.setattr(tenant_isolation, "foreign_address", lambda *given: (self.proofs.append(given), FOREIGN)[1])
        monkeypatch.setattr(demo, "PathSampler", self._sampler)
        monkeypatch.setattr(demo, "ThreadPoolExecutor", self._pool)

    def _ping(self, source: Any, address: str, **settings: Any) -> PingResult:
        self.pings.append((source.name, address, settings))
        if settings["count"] in self._silent:
            return PingResult(settings["count"], 0, None, None, None, None, (), "")
        return pings(0.5, 1.5, sent=settings["count"])

    def _measure(self, source: Any, target: Any, address: str, spec: IperfSpec) -> Any:
        self.runs.append((source.name, target.name, address, spec))
        return tcp(spec.streams, 1e9)

    @contextlib.contextmanager
    def _started(self, source: Any, target: Any, address: str, spec: IperfSpec) -> Iterator[Any]:
        assert self.samplers  # it is watched from before its first packet
        yield SimpleNamespace(wait=lambda: self._measure(source, target, address, spec))

    @contextlib.contextmanager
    def _pool(self, threads: int) -> Iterator[Any]:
        assert threads == 4
        yield SimpleNamespace(map=map)

    def _sampler(self, *given: Any) -> Any:
        self.samplers.append(given)

        class Sampler(contextlib.nullcontext[None]):
            def timeline(self) -> Timeline:
                return Timeline(given[1], given[2], ())

        return Sampler()


def run(tools: Tools, spec: DemoSpec = SPEC) -> tuple[DemoResult, list[str]]:
    steps: list[str] = []
    return demo.run(spec, lambda step, share: steps.append(step)), steps


def test_each_generation_gets_a_testbed_of_its_own_that_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    result, steps = run(Tools(monkeypatch))
    assert [one.run for one in DemoTestbed.made] == ["demo-fastpath", "demo-ovs"]
    assert [{server.dataplane for server in testbed.topology.servers} for testbed in DemoTestbed.made] == [
        {"fastpath"},
        {"ovs"},
    ]
    assert not any(testbed.is_up for testbed in DemoTestbed.made)
    for testbed in DemoTestbed.made:
        assert testbed.opened == testbed.closed[::-1] == [server.name for server in testbed.topology.servers]
    assert [one.dataplane for one in result.generations] == ["fastpath", "ovs"]
    assert steps[:3] == ["fastpath: starting", "fastpath: starting, nodes 1/3", "fastpath: isolation"]
    assert steps[8] == "fastpath: stopping"
    assert len(steps) == 18
    assert result.topology.name == "demo"
    assert result.parameters["generations"] == ["fastpath", "ovs"]
    assert result.seconds >= 0


def test_a_generation_has_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)
    (one, _) = run(tools)[0].generations
    assert (one.phases, one.run) == ({"nodes": 0.25}, "demo-fastpath")
    assert one.servers["h1"]["name"] == "h1"
    assert set(one.servers) == {"h1", "h2", "h3", "hv1"}
    assert (one.latency_hoverboard.sent, one.latency_direct.sent) == (20, 200)
    assert one.latency_hoverboard_stayed
    assert (one.timeline.src, one.timeline.dst) == ("10.0.0.2", "10.0.0.3")
    assert one.timeline.iperf is not None
    # What the Hoverboard has received between the look before and the one after.
    assert one.throughput == (Throughput(1, tcp(1, 1e9), 1_000), Throughput(16, tcp(16, 1e9), 1_000))


def test_latency_and_throughput_are_those_of_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)
    run(tools)
    long = [one for one in tools.pings if one[2]["count"] > 3][:2]
    assert long == [
        ("blue-1", "10.0.0.3", {"count": 20, "interval": 0.1, "size": ping.SMALL}),
        ("blue-1", "10.0.0.3", {"count": 200, "interval": 0.005, "size": 56}),
    ]
    ends = ("blue-1", "blue-2", "10.0.0.3")
    assert tools.runs[:3] == [
        (*ends, IperfSpec(seconds=7, interval=0.25)), (*ends, IperfSpec(seconds=4, streams=1, omit=1)),
        (*ends, IperfSpec(seconds=4, streams=16, omit=1)),
    ]  # fmt: skip
    # Three looks at the time that is left: some, less, and more again after the report; the fourth is at the counters.
    assert [testbed.looks for testbed in DemoTestbed.made] == [4, 4]
    vni, src, dst, relays, _, _, interval = tools.samplers[0]
    assert (vni, src, dst, relays, interval) == (7, "10.0.0.2", "10.0.0.3", ["172.16.255.1"], 0.25)


def test_every_ordered_pair_within_a_tenant_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)
    (one, _) = run(tools)[0].generations
    few = [entry for entry in tools.pings if entry[2] == {"count": 3, "size": ping.SMALL}]
    assert len(few) == 2 * len(one.matrix)
    assert len(one.matrix) == 2 * 3 * 2
    assert one.matrix[0] == PingCell("blue", "blue-1", "blue-2", 3, 2, 0.5)
    assert {(cell.network, cell.src.partition("-")[0]) for cell in one.matrix} == {("blue", "blue"), ("red", "red")}
    assert few[0][:2] == ("blue-1", "10.0.0.3")


def test_both_proofs_go_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)
    (one, _) = run(tools)[0].generations
    assert (one.isolation.same, one.isolation.foreign) == ((SAME, SAME), (FOREIGN, FOREIGN))
    testbed = DemoTestbed.made[0]
    tenant, source, targets = tools.proofs[0]
    assert (tenant, source) == ("blue", ("blue-1", testbed.node("blue-1")))
    assert [(address, mine, other) for address, mine, _, other, _ in targets] == [
        ("10.0.0.3", "blue-2", "red-2"), ("10.0.0.4", "blue-3", "red-3"),
    ]  # fmt: skip
    assert targets[0][2:] == (testbed.node("blue-2"), "red-2", testbed.node("red-2"))
    assert tools.proofs[1][:2] == ("red", ("red-1", testbed.node("red-1")))
    assert tools.proofs[2][0] == "blue"
    host = next(vm.host for vm in testbed.topology.vms if vm.name == "red-3")
    assert testbed.added[0] == ("red", "red-only", host)
    assert [name for name, *_ in testbed.added] == ["red", "blue"]
    assert testbed.removed == ["red-only", "blue-only"]


def test_the_vm_of_the_second_proof_is_removed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)

    def fail(*given: Any) -> Any:
        raise MeasurementError("no counter")

    monkeypatch.setattr(tenant_isolation, "foreign_address", fail)
    with pytest.raises(MeasurementError, match="no counter"):
        run(tools)
    assert DemoTestbed.made[0].removed == ["red-only"]
    assert not DemoTestbed.made[0].is_up
    assert DemoTestbed.made[0].opened == DemoTestbed.made[0].closed[::-1]


def test_a_pair_that_was_offloaded_meanwhile_did_not_stay_on_the_hoverboard(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)
    original = DemoTestbed.__init__

    def made(self: DemoTestbed, topology: Topology, *, run: str) -> None:
        original(self, topology, run=run)
        self.standing = (("blue-1", "blue-2"),)

    monkeypatch.setattr(DemoTestbed, "__init__", made)
    (one, _) = run(tools)[0].generations
    assert not one.latency_hoverboard_stayed
    assert tools.samplers[0][5]() == 4.0  # when the control plane listed the pair, by its addresses


def test_a_pair_that_does_not_answer_ends_the_demonstration(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch, silent=frozenset({20}))
    with pytest.raises(MeasurementError, match=r"blue-1 gets no answer from blue-2 \(10.0.0.3\)"):
        run(tools)
    assert len(DemoTestbed.made) == 1
    assert not DemoTestbed.made[0].is_up


def test_a_testbed_that_does_not_come_up_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(monkeypatch)
    downs: list[str] = []
    monkeypatch.setattr(DemoTestbed, "fails", True)
    monkeypatch.setattr(DemoTestbed, "down", lambda self: downs.append(self.run))
    with pytest.raises(MeasurementError, match="does not come up"):
        run(tools)
    assert downs == ["demo-fastpath"]
