"""What experiments with datagrams make of what was offered, what arrived, and what Hoverboards counted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.catalog import burst, gateway_overload, offload, pair_rates
from experiments.catalog.burst import Burst
from experiments.catalog.gateway_overload import GatewayOverload
from experiments.catalog.offload import LIVE, REPLAY, Offload
from experiments.catalog.pair_rates import PairRates
from experiments.observe import hoverboard_counters
from experiments.workload import traffic, traffic_population
from experiments.workload.traffic import Datagram, TrafficFlow
from experiments.workload.traffic_population import Replayed
from tests.unit.experiments.fake_testbed import FakeExchange, FakeTestbed, ScriptedBench, exchanged, measured


def values(found: dict[str, list[tuple[float | None, str, dict[str, Any]]]], metric: str) -> list[float | None]:
    return [value for value, _, _ in found[metric]]


# --- pair rates ------------------------------------------------------------------------------------


def test_peak_rates_are_those_of_the_busiest_second(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanged(monkeypatch, pair_rates)
    # One pair sends 10 kbit/s: 125 bytes ten times a second; every fifth is lost. Another pair sends nothing.
    flows = [TrafficFlow("blue-2", "blue-1", 10_000.0), TrafficFlow("blue-3", "blue-1", 9.0)]
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(traffic, "from_cdf", lambda *given: (asked.append(given), flows)[1])
    due = [Datagram(number / 10, 0, 125) for number in range(20)]
    monkeypatch.setattr(traffic, "schedule", lambda draw, given, seconds: (asked.append((given, seconds)), due)[1])
    monkeypatch.setattr(FakeExchange, "lost", staticmethod(lambda one: int(one.at * 10 + 0.5) in (0, 5, 10, 12, 15)))
    bench, point = ScriptedBench(), {"vms": 3, "scale": 0.1}
    found = measured(PairRates, point, bench, seconds=2)
    assert values(found, "offered") == [0.0, 0.0, 10_000.0, 0.0, 9.0, 0.0]
    assert values(found, "measured") == [0, 0, 8 * 125 * 8, 0, 0, 0]  # the first second had eight of them
    assert found["arrived"] == [(15 / 20, "share of datagrams", {})]
    assert found["latest"] == [(250.0, "ms behind the schedule", {})]
    assert {unit for _, unit, _ in found["offered"]} == {"bit/s"}
    among, cdf, scale = asked[0][1:]
    assert among == traffic.pairs(["blue-1", "blue-2", "blue-3"])
    assert (cdf, scale, asked[1]) == (pair_rates.papers_cdf(), 0.1, (flows, 2))
    (testbed,) = bench.testbeds
    assert (len(testbed.topology.hosts), len(testbed.topology.hoverboards), len(testbed.topology.vms)) == (4, 1, 3)
    assert testbed.topology.model == "hoverboard"
    assert bench.fresh_ones == 0
    assert bench.kept["flows"][0]["arrived"] == 15


def test_nothing_that_was_offered_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanged(monkeypatch, pair_rates)
    monkeypatch.setattr(traffic, "from_cdf", lambda *given: [])
    assert "arrived" not in measured(PairRates, {"vms": 2, "scale": 0.1}, ScriptedBench(), seconds=2)


# --- bursts ----------------------------------------------------------------------------------------


class Relay:
    """A Hoverboard that receives 100 packets a tick until the time of its relief, then 5."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, relief: float) -> None:
        exchanged(monkeypatch, burst)
        self.received, self.relief, self.at = 7_000, relief, 0.0
        monkeypatch.setattr(FakeExchange, "passing", staticmethod(self._pass))

    def _pass(self, at: float) -> None:
        self.received += 100 if at <= self.relief + 1e-9 else 5
        self.at = at

    def prepare(self, testbed: FakeTestbed) -> None:
        testbed.status = lambda host: {"counters": {"rx_packets": self.received if host == "hv1" else 0}}
        testbed.standing = [("blue-1", "blue-2")] * 4


POINT = {"interval": 0.5, "threshold": 20.0}


def test_a_burst_is_read_off_the_hoverboard_s_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay(monkeypatch, relief=0.5)
    bench = ScriptedBench(relay.prepare)
    monkeypatch.setattr(FakeExchange, "lost", staticmethod(lambda one: one.flow == 0))
    found = measured(Burst, POINT, bench, pairs=4, rate=100.0, seconds=0.95)
    assert found["highest load"] == [(pytest.approx(1000.0), "packets/s", POINT)]
    assert found["time to relief"] == [(pytest.approx(0.6), "s", POINT)]
    assert "not relieved" not in found
    assert [labels["at"] for _, _, labels in found["load"]] == pytest.approx([0.1 * tick for tick in range(1, 11)])
    assert values(found, "load") == pytest.approx([1000.0] * 5 + [50.0] * 5)
    assert all(labels.items() >= POINT.items() for _, _, labels in found["load"])
    assert found["offloaded"] == [(4.0, "pairs", POINT)]
    assert found["lost"] == [(pytest.approx(1 / 4, abs=0.02), "share of datagrams", POINT)]
    (testbed,) = bench.testbeds
    assert (testbed.topology.report_interval, testbed.topology.offload_threshold) == (0.5, 20_000)
    assert (len(testbed.topology.vms), testbed.topology.model, bench.fresh_ones) == (16, "hoverboard", 1)
    assert (len(testbed.topology.hosts), len(testbed.topology.hoverboards)) == (2, 1)
    assert testbed.opened == testbed.closed == ["hv1"]
    assert len(bench.kept["load"]) == 10
    assert len(bench.kept["flows"]) == 4


def test_a_burst_without_relief_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(Burst, POINT, ScriptedBench(Relay(monkeypatch, relief=9.0).prepare), pairs=2, seconds=0.5)
    assert len(found["load"]) == 5
    assert found["not relieved"] == [(1.0, "times", POINT)]
    assert "time to relief" not in found


def test_a_burst_is_of_pairs_between_the_hosts_the_same_for_all_that_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relay = Relay(monkeypatch, relief=9.0)
    flows: list[list[TrafficFlow]] = []
    for interval in (0.1, 2.0):
        bench = ScriptedBench(relay.prepare)
        measured(Burst, POINT | {"interval": interval}, bench, pairs=999, rate=100.0, seconds=1.0)
        flows.append(FakeExchange.made[-1].flows)
        host = {vm.name: vm.host for vm in bench.testbeds[0].topology.vms}
        assert all({host[flow.src], host[flow.dst]} == {"h1", "h2"} for flow in flows[-1])
    assert len(flows[0]) == 2 * 8 * 8  # as many as there are
    assert {flow.rate_bps for flow in flows[0]} == {100_000.0}
    assert {(flow.src, flow.dst) for flow in flows[0]} == {(flow.src, flow.dst) for flow in flows[1]}
    assert FakeExchange.made[-1].due
    assert max(one.size for one in FakeExchange.made[-1].due) == 1_000


# --- offloads --------------------------------------------------------------------------------------


def test_a_replay_is_that_of_its_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(traffic_population, "replay", lambda draw, bps: (asked.append(bps), Replayed(7, 0.25))[1])
    point = {"part": REPLAY, "threshold_kbps": 12.5}
    assert measured(Offload, point, ScriptedBench()) == {
        "offloaded": [(7, "pairs", point)], "on Hoverboards": [(0.25, "share of bytes", point)],
    }  # fmt: skip
    assert asked == [12_500.0]


def test_live_traffic_is_what_hoverboards_still_carry_once_reports_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanged(monkeypatch, offload)
    counted = iter([1_000, 1_060])
    monkeypatch.setattr(hoverboard_counters, "received", lambda testbed: next(counted))
    monkeypatch.setattr(traffic_population, "representative_shares", lambda count: [0.5, 0.25, 0.125, 0.125][:count])
    monkeypatch.setattr(FakeExchange, "lost", staticmethod(lambda one: one.flow == 3))

    def pass_(at: float) -> None:
        made = FakeExchange.made[0]
        made.testbed.standing = [*((flow.src, flow.dst) for flow in made.flows[:3]), ("stranger", "blue-1")]

    monkeypatch.setattr(FakeExchange, "passing", staticmethod(pass_))
    bench, point = ScriptedBench(), {"part": LIVE, "wanted": 2}
    found = measured(Offload, point, bench, pairs=4, rate=0.96, seconds=4)
    exchange = FakeExchange.made[0]
    assert [flow.rate_bps for flow in exchange.flows] == pytest.approx([480e3, 240e3, 120e3, 120e3])
    host = {vm.name: vm.host for vm in exchange.testbed.topology.vms}
    assert all(host[flow.src] != host[flow.dst] for flow in exchange.flows)
    (testbed,) = bench.testbeds
    rates = [flow.rate_bps for flow in exchange.flows]
    assert testbed.topology.offload_threshold == offload.threshold_between(rates, 2)
    assert (len(testbed.topology.hosts), len(testbed.topology.vms), testbed.topology.report_interval) == (3, 12, 0.5)
    assert (testbed.topology.model, len(testbed.topology.hoverboards)) == ("hoverboard", 1)
    # 600 bytes a datagram: 100, 50, 25 and 25 a second, of which two seconds count.
    late = sum(one.at >= 2.0 for one in exchange.due)
    assert found["on Hoverboards"] == [(pytest.approx(60 / late), "share of datagrams", point)]
    assert late == pytest.approx(400, abs=4)
    assert found["offloaded"] == [(3, "pairs", point)]
    assert found["arrived"] == [(pytest.approx(1 - 100 / 800, abs=0.01), "share of datagrams", point)]
    assert sum(row["offered"] for row in bench.kept["flows"]) == len(exchange.due)
    assert bench.said == ["offload: 2 pairs, waiting until reports have come"]
    assert max(one.size for one in exchange.due) == 600


@pytest.mark.parametrize("at", [3.0, 1.0])
def test_one_datagram_or_none_is_something_to_divide_by(monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    exchanged(monkeypatch, offload)
    counted = iter([1_000, 1_060])
    monkeypatch.setattr(hoverboard_counters, "received", lambda testbed: next(counted))
    monkeypatch.setattr(traffic, "schedule", lambda *given: [Datagram(at, 0, 600)])
    found = measured(Offload, {"part": LIVE, "wanted": 2}, ScriptedBench(), pairs=4, seconds=4)
    assert values(found, "on Hoverboards") == [60.0]


# --- reports of hosts or of Hoverboards ------------------------------------------------------------


class Overload:
    """A flood, and pairs that are offloaded at these times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
        exchanged(monkeypatch, gateway_overload)
        self.floods: list[tuple[Any, ...]] = []
        self.sent = 0
        self.testbed: FakeTestbed | None = None
        self._times = times
        dropped = iter([50, 53])
        monkeypatch.setattr(hoverboard_counters, "over_capacity", lambda testbed: next(dropped))
        monkeypatch.setattr(gateway_overload, "flooding", self._flooding)
        monkeypatch.setattr(FakeExchange, "passing", staticmethod(self._pass))
        monkeypatch.setattr(FakeExchange, "lost", staticmethod(lambda one: one.at < 1.0))

    @contextlib.contextmanager
    def _flooding(self, testbed: FakeTestbed, *given: Any) -> Iterator[Any]:
        self.testbed = testbed
        self.floods.append(given)
        yield self._Sending(self)

    class _Sending:
        """Has sent 1,500 packets more at each look."""

        def __init__(self, overload: Overload) -> None:
            self._overload = overload

        @property
        def sent(self) -> int:
            self._overload.sent += 1_500
            return self._overload.sent

    def _pass(self, at: float) -> None:
        assert self.testbed is not None
        chosen = [(f"blue-{2 * number + 3}", f"blue-{2 * number + 4}") for number in range(3)]
        self.testbed.standing = [pair for pair, time in zip(chosen, self._times, strict=False) if time <= at]


def test_pairs_are_relieved_beside_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    overload = Overload(monkeypatch, 0.1, 0.5, 9.0)
    bench, point = ScriptedBench(), {"reports": "hoverboards", "overload": 40.0}
    found = measured(GatewayOverload, point, bench, capacity=100, pairs=3, seconds=4.0)
    assert values(found, "time to relief") == pytest.approx([0.1, 0.5], abs=0.0201)
    assert found["relieved"] == [(pytest.approx(2 / 3), "share of pairs", point)]
    assert found["lost"] == [(pytest.approx(0.25, abs=0.01), "share of the pairs' datagrams", point)]
    assert found["dropped by the Hoverboard"] == [(3.0, "packets", point)]
    assert overload.floods == [(["blue-1"], ["10.0.0.250"], 4000.0)]
    assert overload.sent == 4_500, "a second of the flood first"
    (testbed,) = bench.testbeds
    assert (testbed.topology.offload.reports, testbed.topology.hoverboards[0].capacity) == ("hoverboards", (100, None))
    assert (len(testbed.topology.vms), testbed.topology.report_interval) == (8, 0.2)
    assert [(one.src, one.dst, one.rate_bps) for one in FakeExchange.made[0].flows] == [
        ("blue-3", "blue-4", 150_000.0), ("blue-5", "blue-6", 150_000.0), ("blue-7", "blue-8", 150_000.0),
    ]  # fmt: skip
    assert FakeExchange.made[0].seconds == 4.0
    assert max(one.size for one in FakeExchange.made[0].due) == 600
    assert len(bench.kept["flows"]) == 3


def test_without_a_flood_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    overload = Overload(monkeypatch, 0.0, 0.0, 0.0)
    point = {"reports": "hosts", "overload": 0.0}
    bench = ScriptedBench()
    found = measured(GatewayOverload, point, bench, pairs=3, seconds=1.0)
    assert bench.testbeds[0].asked == 2  # the second answer had all of them
    assert overload.sent == 1_500, "one look"
    assert overload.floods[0][2] == 0.0
    assert found["relieved"][0][0] == 1.0
    assert len(found["time to relief"]) == 3


def test_relief_is_asked_for_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Overload(monkeypatch, 9.0, 9.0, 9.0)
    bench = ScriptedBench()
    measured(GatewayOverload, {"reports": "hosts", "overload": 0.0}, bench, pairs=3, seconds=0.04)
    assert bench.testbeds[0].asked == 2
