"""A testbed, a bench and an exchange that are made up: who was asked for what, and what they answer."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from experiments.frame.experiment import Experiment, Point, Sample
from experiments.sweeps.bench import random_seed
from experiments.tools.tool_processes import Node
from experiments.workload.traffic import Datagram, TrafficFlow
from experiments.workload.udp_exchange import Carried, Result
from tests.unit.experiments.catalog.made_up import given
from topologies.spec import schema
from topologies.spec.topology import Topology

Status = Callable[[str], dict[str, Any]]


class FakeTestbed:
    """A testbed of a topology.

    Attributes:
        status: what a host says, by its name.
        standing: pairs that are offloaded.
        asked: how often for these.
        closed: lines to hosts that were opened and closed.
    """

    def __init__(self, topology: Any, options: dict[str, Any], status: Status | None = None) -> None:
        self.topology = topology if isinstance(topology, Topology) else schema.load(topology)
        self.options, self.run, self.directory = options, "made-up", SimpleNamespace(logs=Path("logs"))
        self.status: Status = status if status is not None else lambda name: {}
        self.standing: Sequence[tuple[str, str]] = ()
        self.asked = 0
        self.control: dict[str, Any] = {}
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.intent: Any = SimpleNamespace()
        self.intent_address = ""
        self.phases: dict[str, float] = {}

    def node(self, name: str) -> Node:
        return Node(name, self.pid_of(name))

    def pid_of(self, name: str) -> int:
        return 1000 + [one.name for one in (*self.topology.servers, *self.topology.vms)].index(name)

    def host_client(self, name: str) -> Any:
        self.opened.append(name)
        return SimpleNamespace(status=lambda: self.status(name), close=lambda: self.closed.append(name))

    def offloads(self) -> list[dict[str, str]]:
        self.asked += 1
        return [{"src": src, "dst": dst} for src, dst in self.standing]

    def supervision(self) -> dict[str, Any]:
        return {"down": [], "restarts": 0}

    def control_status(self) -> dict[str, Any]:
        return self.control


class ScriptedBench:
    """A bench whose testbeds are made up; `prepare` is called with each."""

    quick = False

    def __init__(self, prepare: Callable[[FakeTestbed], None] = lambda testbed: None) -> None:
        self.testbeds: list[FakeTestbed] = []
        self.fresh_ones = 0
        self.kept: dict[str, Any] = {}
        self.said: list[str] = []
        self._prepare = prepare

    def testbed(self, topology: Any = "two-hosts", **options: Any) -> Any:
        testbed = FakeTestbed(topology, options)
        assert [network.vni for network in testbed.topology.networks] == [7, 8][: len(testbed.topology.networks)]
        self._prepare(testbed)
        self.testbeds.append(testbed)
        return testbed

    def fresh(self, topology: Any = "two-hosts", **options: Any) -> Any:
        self.fresh_ones += 1
        return self.testbed(topology, **options)

    def raw(self, name: str, document: Any) -> None:
        self.kept[name] = document

    def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
        return random.Random(random_seed(1, "point", of, across))

    def say(self, what: str) -> None:
        self.said.append(what)


def measured(
    kind: type[Experiment], point: Point, bench: ScriptedBench, **changed: Any
) -> dict[str, list[tuple[float | None, str, dict[str, Any]]]]:
    """The samples of one point by metric, as (value, unit, labels)."""
    found: dict[str, list[tuple[float | None, str, dict[str, Any]]]] = {}
    for one in kind().measure(point, given(kind, **changed), bench):
        found.setdefault(one.metric, []).append((one.value, one.unit, dict(one.labels)))
    return found


def errors(kind: type[Experiment], point: Point, bench: ScriptedBench, **changed: Any) -> list[Sample]:
    """The samples of one point that failed."""
    return [one for one in kind().measure(point, given(kind, **changed), bench) if one.value is None]


class FakeExchange:
    """Datagrams on a clock of their own: what is waited for has passed, and what is due by then was sent.

    Attributes:
        made: all exchanges so far.
        lost: whether a datagram does not arrive.
        passing: called each time that time passes, with the seconds since the start.
    """

    made: list[FakeExchange] = []
    lost: Callable[[Datagram], bool] = staticmethod(lambda one: False)
    passing: Callable[[float], None] = staticmethod(lambda at: None)

    def __init__(self, testbed: FakeTestbed, flows: Sequence[TrafficFlow]) -> None:
        self.testbed, self.flows = testbed, list(flows)
        self.open = False
        FakeExchange.made.append(self)

    def __enter__(self) -> FakeExchange:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    @contextlib.contextmanager
    def running(self, datagrams: Any, seconds: float) -> Iterator[FakeRunning]:
        assert self.open
        self.due, self.seconds = list(datagrams), seconds
        yield FakeRunning(self)

    def run(self, datagrams: Any, seconds: float) -> Result:
        with self.running(datagrams, seconds) as running:
            return running.result()


class FakeRunning:
    """An exchange on its way."""

    began = 1_000_003.0

    def __init__(self, exchange: FakeExchange) -> None:
        self.carried = [Carried() for _ in exchange.flows]
        self._exchange, self._at, self._left = exchange, 0.0, list(exchange.due)

    def now(self) -> float:
        return self._at

    def wait(self, seconds: float) -> None:
        self._at = max(self._at, seconds)
        while self._left and self._left[0].at < self._at:
            one = self._left.pop(0)
            flow = self.carried[one.flow]
            flow.offered += 1
            flow.offered_bytes += one.size
            if not FakeExchange.lost(one):
                flow.arrived += 1
                flow.arrived_bytes += one.size
                flow.arrivals.append((one.at, 0.001))
                flow.by_second[int(one.at)] = flow.by_second.get(int(one.at), 0) + one.size
        FakeExchange.passing(self._at)

    def result(self) -> Result:
        self.wait(self._exchange.seconds)
        return Result(self.carried, self._exchange.seconds, 0.25, 0)


def exchanged(monkeypatch: Any, module: Any) -> None:
    """From now on the module's exchanges are made up."""
    monkeypatch.setattr(FakeExchange, "made", [])
    monkeypatch.setattr(module, "Exchange", FakeExchange)
