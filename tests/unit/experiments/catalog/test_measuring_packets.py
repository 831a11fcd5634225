"""What batching and isolation make of what their tools say: packets a second, pings, floods."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experiments.catalog import isolation
from experiments.catalog.batching import Batching
from experiments.catalog.isolation import Isolation
from experiments.tools import engine_loop, packet_rate, ping
from experiments.tools.packet_rate import PacketRateResult, PacketRateSpec
from experiments.tools.ping_output import PingResult
from hoverboard.contract.errors import MeasurementError
from hoverboard.fastpath.engine import compose
from tests.unit.experiments.fake_testbed import FakeTestbed, ScriptedBench, measured


def test_a_packet_rate_is_the_best_of_three_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    delivered = iter([100_000.0, 160_000.0, 150_000.0])

    def measure(*given: Any) -> PacketRateResult:
        asked.append(given)
        return PacketRateResult(0.0, next(delivered), 0, 0)

    monkeypatch.setattr(packet_rate, "measure", measure)
    bench, point = ScriptedBench(), {"what": "live", "batch": 8}
    assert measured(Batching, point, bench, seconds=0.5) == {
        "packet rate": [(160.0, "1000 packets/s", {"batch": 8})]
    }  # fmt: skip
    (testbed,) = bench.testbeds
    assert testbed.topology.name == "batch-8"
    ends = (testbed.node("blue-1"), testbed.node("blue-2"), "10.0.0.3")
    assert [given[:3] for given in asked] == [ends] * 3
    assert [given[3] for given in asked] == [
        PacketRateSpec(seconds=0.5), PacketRateSpec(seconds=0.5, rate_pps=1.5 * 100_000),
        PacketRateSpec(seconds=0.5, rate_pps=1.1 * 160_000),
    ]  # fmt: skip
    assert [one["delivered_pps"] for one in bench.kept["offers"]] == [100_000.0, 160_000.0, 150_000.0]


class Engine:
    """An engine that takes 1000 ns for each packet of a batch of one, and 500 + 500 / batch else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[tuple[int, int]] = []
        self.flows = 0
        self.orders: list[int] = []
        self.egress = self
        self.port_stats = np.zeros((8, 3), np.int64)
        monkeypatch.setattr(engine_loop, "prepare", self._prepare)
        monkeypatch.setattr(engine_loop, "frame", lambda: "frame")
        monkeypatch.setattr(engine_loop, "driver", lambda engines: self._drive)
        monkeypatch.setattr(compose, "compose", lambda: "engines")

    def _prepare(self, flows: int) -> Engine:
        self.flows = flows
        return self

    def set_batch(self, egress: int, ingress: int) -> None:
        self.batches.append((egress, ingress))

    def _drive(self, memory: Any, one: Any, order: Any, clock: Any) -> int:
        from hoverboard.fastpath.memory import ports

        assert (memory, one) == (self, "frame")
        assert (order.min(), order.max()) == (0, self.flows - 1)
        self.orders.append(len(order))
        self.port_stats[ports.UPLINK, 2] += len(order)
        batch = self.batches[-1][0] if self.batches else 1
        return int(len(order) * (500 + 500 / batch))


def test_the_engine_alone_is_timed_for_each_batch_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    from hoverboard.fastpath.memory import rings

    engine, bench = Engine(monkeypatch), ScriptedBench()
    found = measured(Batching, {"what": "engine"}, bench, batches=(1, 4, 10), rounds=3, flows=50)
    assert found == {
        "engine": [
            (pytest.approx(ns), "ns/packet", {"batch": batch})
            for batch, ns in ((1, 1000), (4, 625), (10, 550))
            for _ in "abc"
        ]
    }  # fmt: skip
    assert engine.orders == [32 * rings.SIDE_SLOTS] + [1 << 18] * 9  # the first warms the tables up
    rounds = [engine.batches[at : at + 3] for at in (0, 3, 6)]
    assert [sorted(one) for one in rounds] == [[(1, 1), (4, 4), (10, 10)]] * 3
    assert len({tuple(one) for one in rounds}) > 1
    assert bench.kept["engine-ns"]["median"] == pytest.approx({1: 1000, 4: 625, 10: 550})
    assert bench.kept["engine-ns"]["all"][1] == pytest.approx([1000] * 3)
    assert bench.said == [
        "batching: filling the engine's table",
        *(f"batching: the engine alone, round {number} of 3" for number in (1, 2, 3)),
    ]  # fmt: skip


SAMPLES = tuple(number / 1000 for number in range(1, 101))  # 1 to 100 us


class Flooded:
    """A victim that is pinged while its neighbour is flooded; the flood runs when it is asked for its result."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, ends_early: bool = False, answers: bool = True, dropped: int = 5
    ) -> None:
        self.pings: list[tuple[Any, ...]] = []
        self.floods: list[tuple[Any, ...]] = []
        self.dropped = dropped
        self.error: Exception | None = None
        self._early, self._answers = ends_early, answers
        monkeypatch.setattr(packet_rate, "measure", self._flood)
        monkeypatch.setattr(ping, "measure", self._ping)
        monkeypatch.setattr(isolation, "ThreadPoolExecutor", self._pool)

    @contextlib.contextmanager
    def _pool(self, threads: int) -> Iterator[Any]:
        assert threads == 1
        yield SimpleNamespace(submit=lambda call, *given: SimpleNamespace(
            done=lambda: self._early and bool(self.pings), result=lambda: call(*given)
        ))  # fmt: skip

    def prepare(self, testbed: FakeTestbed) -> None:
        testbed.status = self._status

    def _status(self, host: str) -> dict[str, Any]:
        return {"counters": {"drops": {"else": 99} | ({"vm-queue-full": self.dropped} if self.dropped else {})}}

    def _ping(self, *given: Any, **settings: Any) -> PingResult:
        self.pings.append((*given, settings))
        samples = SAMPLES if self._answers else ()
        return PingResult(200, len(samples), None, None, None, None, samples, "the text")

    def _flood(self, *given: Any) -> PacketRateResult:
        if self.error is not None:
            raise self.error
        assert len(self.pings) == 2
        self.floods.append(given)
        self.dropped += 37
        return PacketRateResult(9_000.0, 7_000.0, 1, 0)


@pytest.mark.parametrize(
    ("noise", "ends"), [("egress", ("noisy", "far", "10.0.0.5")), ("ingress", ("far", "noisy", "10.0.0.3"))]
)
def test_a_victim_is_pinged_beside_a_flood(
    monkeypatch: pytest.MonkeyPatch, noise: str, ends: tuple[str, str, str]
) -> None:
    flooded = Flooded(monkeypatch)
    bench, point = ScriptedBench(flooded.prepare), {"noise": noise, "scheduler": "arrival"}
    assert measured(Isolation, point, bench, pings=200, rate=1_000) == {
        "dropped by full VM queues": [(37.0, "packets", point)],
        "flood offered": [(9.0, "1000 packets/s", point)],
        "flood delivered": [(7.0, "1000 packets/s", point)],
        "loss": [(50.0, "%", point)],
        "p50": [(pytest.approx(50.5), "us", point)],
        "p99": [(pytest.approx(99.01), "us", point)],
    }
    (testbed,) = bench.testbeds
    assert testbed.topology.name == "isolation-arrival"
    # So long that the pings, 5 ms apart, have ended before it.
    spec = PacketRateSpec(seconds=200 * 0.005 * 1.5 + 1.0, rate_pps=1_000)
    assert flooded.floods == [(testbed.node(ends[0]), testbed.node(ends[1]), ends[2], spec)]
    assert flooded.pings == [
        (testbed.node("friend"), "10.0.0.2", {"count": 40, "interval": 0.01}),
        (testbed.node("friend"), "10.0.0.2", {"count": 200, "interval": 0.005}),
    ]
    assert bench.kept["ping"] == "the text"
    assert bench.kept["flood"]["delivered_pps"] == 7_000.0
    assert testbed.opened == testbed.closed == ["h1", "h1"]


def test_a_flood_without_a_rate_is_all_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    flooded = Flooded(monkeypatch, dropped=0)
    found = measured(Isolation, {"noise": "egress", "scheduler": "priority"}, ScriptedBench(flooded.prepare), rate=0)
    assert flooded.floods[0][3].rate_pps is None
    assert found["dropped by full VM queues"][0][0] == 37.0  # none had been dropped before


def test_a_quiet_neighbour_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    flooded = Flooded(monkeypatch)
    found = measured(Isolation, {"noise": "none", "scheduler": "priority"}, ScriptedBench(flooded.prepare))
    assert found.keys() == {"loss", "p50", "p99"}
    assert flooded.floods == []


def test_without_an_answer_there_are_no_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    flooded = Flooded(monkeypatch, answers=False)
    found = measured(Isolation, {"noise": "none", "scheduler": "priority"}, ScriptedBench(flooded.prepare))
    assert found == {"loss": [(100.0, "%", {"noise": "none", "scheduler": "priority"})]}


def test_a_flood_that_ends_before_the_pings_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    flooded = Flooded(monkeypatch, ends_early=True)
    bench, point = ScriptedBench(flooded.prepare), {"noise": "egress", "scheduler": "priority"}
    with pytest.raises(MeasurementError, match="the flood ended before the pings did"):
        measured(Isolation, point, bench)
    flooded.pings.clear()
    flooded.error = MeasurementError("no packet arrived")
    with pytest.raises(MeasurementError, match="no packet arrived"):
        measured(Isolation, point, bench)
