"""What each case of the datapath benchmark asks of its tools, and what it makes of their answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.datapath import __main__ as datapath
from benchmarks.datapath import cases, contestants
from benchmarks.datapath.cases import AWAKE_CASES, CASES, Case, Plan, Sample
from benchmarks.datapath.contestants import Contestant, Pair
from experiments.observe import cpu_window, run_cost
from experiments.observe.cpu_window import ProcessTime, Reading
from experiments.observe.run_cost import RunProcess
from experiments.tools import iperf, packet_rate, ping, round_trip
from experiments.tools.iperf import IperfSpec
from experiments.tools.packet_rate import PacketRateResult, PacketRateSpec
from experiments.tools.ping_output import PingResult
from experiments.tools.round_trip import RoundTripResult, RoundTripSpec
from experiments.tools.tool_processes import Node
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.demo.demonstration import tcp
from topologies.processes.process_table import Process

PLAN = Plan(rounds=2, latency_rounds=3, seconds=4, omit=1, pings=100, round_trip_seconds=0.5)
FAR, NEAR = Pair(Node("a", 1), Node("b", 2), "10.0.0.3"), Pair(Node("a", 1), Node("c", 3), "10.0.0.4")


def contestant(
    name: str = "fastpath", *, run: str | None = "the-run", relayed: Iterator[int] | None = None
) -> Contestant:
    counted = relayed if relayed is not None else iter(range(10**6))
    return Contestant(
        name, {"two hosts": FAR, "same host": NEAR}, lambda where: None, lambda: next(counted), run, {"x": 1}
    )


def case(name: str) -> Case:
    return next(one for one in CASES if one.name == name)


class Asked(list[tuple[Any, ...]]):
    """A tool's calls; each call takes the next answer."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self._answers = list(answers)

    def __call__(self, *given: Any, **settings: Any) -> Any:
        self.append((*given, settings) if settings else given)
        return self._answers.pop(0)


@pytest.mark.parametrize(
    ("name", "pair", "streams"),
    [
        ("TCP, two hosts, 1 stream", FAR, 1), ("TCP, two hosts, 16 streams", FAR, 16),
        ("TCP, same host, 1 stream", NEAR, 1),
    ],
)  # fmt: skip
def test_tcp_streams(monkeypatch: pytest.MonkeyPatch, name: str, pair: Pair, streams: int) -> None:
    asked = Asked(tcp(streams, 5e9))
    monkeypatch.setattr(iperf, "measure", asked)
    one = case(name)
    assert one.measure(contestant(), one, PLAN) == Sample(5e9, {"retransmits": 7})
    assert asked == [(pair.source, pair.target, pair.address, IperfSpec(seconds=4, streams=streams, omit=1))]
    assert one.rounds(PLAN) == 2


def pinged(received: int = 100, avg: float | None = 0.5) -> PingResult:
    samples = (0.25,) * received
    return PingResult(100, received, 0.125, avg, 2.0, 0.1, samples, "")


def test_a_round_of_pings_is_their_average_after_some_that_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(pinged(), pinged(99))
    monkeypatch.setattr(ping, "measure", asked)
    one = case("ping, same host")
    assert one.measure(contestant(), one, PLAN) == Sample(0.5, {"median": 0.25, "min": 0.125, "max": 2.0})
    assert asked == [(NEAR.source, NEAR.address, {"count": count, "interval": 0.005}) for count in (10, 100)]
    assert one.rounds(PLAN) == 3


@pytest.mark.parametrize("found", [pinged(98), pinged(0), pinged(100, avg=None)])
def test_pings_that_are_lost_are_no_round(monkeypatch: pytest.MonkeyPatch, found: PingResult) -> None:
    monkeypatch.setattr(ping, "measure", Asked(pinged(), found))
    one = case("ping, two hosts")
    with pytest.raises(MeasurementError, match=f"fastpath: {found.received} of 100 pings were answered") as caught:
        one.measure(contestant(), one, PLAN)
    assert caught.value.where == "a"


def test_round_trips_are_the_tool_s_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    found = RoundTripResult(9, 1.0, 9.0, 11.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    asked = Asked(found)
    monkeypatch.setattr(round_trip, "measure", asked)
    one = case("round trip (TCP_RR), two hosts")
    sample = one.measure(contestant(), one, PLAN)
    assert (sample.value, sample.detail["p99_us"]) == (11.0, 4.0)
    assert set(one.also) <= set(sample.detail)
    assert asked == [(FAR.source, FAR.target, FAR.address, RoundTripSpec(seconds=0.5))]


@pytest.mark.parametrize(("seconds", "each"), [(4, 2.0), (1, 1.0)])
def test_packets_are_the_best_of_three_offers(monkeypatch: pytest.MonkeyPatch, seconds: int, each: float) -> None:
    asked = Asked(*(PacketRateResult(0.0, pps, 1, 0) for pps in (100.0, 300.0, 200.0)))
    monkeypatch.setattr(packet_rate, "measure", asked)
    one = case("64-byte UDP, two hosts")
    plan = Plan(2, 3, seconds, 1, 100, 0.5)
    sample = one.measure(contestant(), one, plan)
    assert sample.value == 300.0
    assert [offer["delivered_pps"] for offer in sample.detail["offers"]] == [100.0, 300.0, 200.0]
    assert [given[3] for given in asked] == [
        PacketRateSpec(seconds=each), PacketRateSpec(seconds=each, rate_pps=1.5 * 100.0),
        PacketRateSpec(seconds=each, rate_pps=1.1 * 300.0),
    ]  # fmt: skip
    assert {given[:3] for given in asked} == {(FAR.source, FAR.target, FAR.address)}


@pytest.mark.parametrize(("run", "cost"), [("the-run", 7.0), (None, 5.5)])
def test_cpu_per_gigabyte_is_all_that_the_machine_did_less_what_strangers_did(
    monkeypatch: pytest.MonkeyPatch, run: str | None, cost: float
) -> None:
    # 9 s, of which a stranger had 2, and process 5 of the run 1.5: 2 s at 8 Gbit/s are 2 GB.
    readings = [
        Reading(busy, 0.0, 0.0, {pid: ProcessTime(seconds, 1, False) for pid, seconds in spent.items()})
        for busy, spent in ((100.0, {77: 0.0, 99: 1.0, 5: 1.0}), (109.0, {77: 0.0, 99: 3.0, 5: 2.5}))
    ]
    monkeypatch.setattr(cases.os, "getpid", lambda: 77)
    monkeypatch.setattr(cpu_window, "read", lambda: readings.pop(0))
    monkeypatch.setattr(run_cost, "run_processes", lambda name: [RunProcess(Process(5, 0), f"host process of {name}")])
    asked = Asked(tcp(1, 8e9))
    monkeypatch.setattr(iperf, "measure", asked)
    one = case("CPU per GB, two hosts, 1 stream")
    sample = one.measure(contestant(run=run), one, PLAN)
    assert sample.value == pytest.approx(cost / 2)
    assert (sample.detail["gigabytes"], sample.detail["iperf3"]) == (2.0, pytest.approx((0.912 + 0.846) * 2))
    assert sample.detail["by_kind"] == ({"host process of the-run": 1.5} if run else {})
    assert asked == [(FAR.source, FAR.target, FAR.address, IperfSpec(seconds=4))]


def test_cases_with_the_cpus_awake_are_those_of_latency() -> None:
    assert [one.name for one in AWAKE_CASES] == [f"{one.name}, CPUs kept awake" for one in CASES if one.latency]
    assert all(one.awake and one.latency for one in AWAKE_CASES)
    assert not any(one.awake for one in CASES)


class MadeUpContestants:
    """Contestants that are made up, and what each was asked for, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        monkeypatch.setattr(contestants, "all_contestants", self._all_contestants)
        monkeypatch.setattr(datapath, "keep_cpus_awake", self._awake)

    def _all_contestants(self, scheduling: str) -> dict[str, Any]:
        self.done.append(scheduling)
        return {name: lambda name=name: self._up(name) for name in ("ovs", "fastpath", "kernel")}

    @contextlib.contextmanager
    def _up(self, name: str) -> Iterator[Contestant]:
        self.done.append(f"{name} up")
        counted = iter(range(0, 10**6, 3 if name == "ovs" else 5))
        made = contestant(name, relayed=counted)
        yield Contestant(name, made.pairs, lambda where: self.done.append(f"{name} prepares {where}"), made.relayed,
                         None, {"x": 1})  # fmt: skip
        self.done.append(f"{name} down")

    @contextlib.contextmanager
    def _awake(self, seconds: float) -> Iterator[None]:
        self.done.append(f"awake {seconds:g}")
        yield


def counted(done: list[str]) -> Any:
    """A case's function whose value is the number of the turn."""

    def measure(one: Contestant, case: Case, plan: Plan) -> Sample:
        done.append(f"{one.name} measures")
        return Sample(float(len(done)))

    return measure


def test_contestants_take_turns_and_are_prepared_before_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = MadeUpContestants(monkeypatch)
    done = made_up.done
    between = ("fastpath", "ovs")
    quiet = Case("first", "two hosts", "ms", "less", counted(done), between=between)
    late = Case("second", "same host", "ms", "less", counted(done), latency=True, awake=True, between=("fastpath",))
    reported: list[tuple[str, float]] = []
    plan = Plan(2, 1, 1, 0, 1, 1.0)
    found = datapath.measure([quiet, late], plan, lambda what, share: reported.append((what, share)), "pinned")  # type: ignore[arg-type]
    turn = ["{0} prepares two hosts", "{0} measures"]
    assert done == [
        "pinned", "fastpath up", "pinned", "ovs up",
        *(word.format(name) for name in ("fastpath", "ovs", "ovs", "fastpath") for word in turn),
        "fastpath prepares same host", "awake 120", "fastpath measures", "ovs down", "fastpath down",
    ]  # fmt: skip
    assert [one["case"] for one in found["cases"]] == ["first", "second"]
    assert {name: len(several) for name, several in found["cases"][0]["samples"].items()} == {"fastpath": 2, "ovs": 2}
    # Between two looks at a Hoverboard's counter, 5 and 3 packets came; three turns of the first, two of the other.
    assert found["contestants"] == {
        "fastpath": {"x": 1, "relayed_packets": 15}, "ovs": {"x": 1, "relayed_packets": 6},
    }  # fmt: skip
    assert reported[2:] == [
        ("first: fastpath, round 1 of 2", 0.0), ("first: ovs, round 1 of 2", 0.2), ("first: ovs, round 2 of 2", 0.4),
        ("first: fastpath, round 2 of 2", 0.6), ("second: fastpath, round 1 of 1", 0.8),
        ("taking everything down", 1.0),
    ]  # fmt: skip
    assert reported[:2] == [("bringing up fastpath", 0.0), ("bringing up ovs", 0.0)]
    assert found["cases"][0]["fastpath_better_by"].keys() == {"ovs"}
