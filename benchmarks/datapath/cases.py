"""The measurements between VMs, as data: a case is a name, a place, a unit and a function.

A new row of the table is one `Case` here, and one expectation in `bars` if it has a bar. Each function measures all
contestants with the same tool and the same parameters.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from benchmarks.datapath.contestants import Contestant, Where
from experiments.observe import cpu_window, run_cost
from experiments.tools import iperf, packet_rate, ping, round_trip
from experiments.tools.iperf import IperfSpec
from experiments.tools.packet_rate import PacketRateSpec
from experiments.tools.round_trip import RoundTripSpec
from hoverboard.contract.errors import MeasurementError

PING_INTERVAL = 0.005

Unit = Literal["bit/s", "packet/s", "ms", "us", "s/GB"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement.

    Attributes:
        rounds: rounds of each case without latency.
        latency_rounds: rounds of each latency case. There are more, because one late wake-up spoils a short average.
        seconds: seconds of each measurement of a rate.
        omit: seconds left out at its start.
        pings: number of pings in the average of one round.
        round_trip_seconds: seconds of each measurement of TCP round trips.
    """

    rounds: int
    latency_rounds: int
    seconds: int
    omit: int
    pings: int
    round_trip_seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one contestant: the value that is compared, and further details."""

    value: float
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement.

    Attributes:
        unit: unit of the value.
        better: whether a higher or a lower value is better.
        measure: function that measures one contestant once.
        latency: it is a latency case: short, and repeated more often.
        awake: the CPUs are kept from halting during the measurement.
        also: entries of the samples' details that are shown beside the value, in the same unit.
        between: the contestants that take part.
    """

    name: str
    where: Where
    unit: Unit
    better: Literal["more", "less"]
    measure: Callable[[Contestant, Case, Plan], Sample]
    latency: bool = False
    awake: bool = False
    also: tuple[str, ...] = ()
    between: tuple[str, ...] = ("fastpath", "ovs", "kernel")

    def rounds(self, plan: Plan) -> int:
        """The number of turns of each contestant."""
        return plan.latency_rounds if self.latency else plan.rounds


def tcp(streams: int) -> Callable[[Contestant, Case, Plan], Sample]:
    """A function that measures bit/s of so many TCP streams."""

    def measure(one: Contestant, case: Case, plan: Plan) -> Sample:
        pair = one.pairs[case.where]
        spec = IperfSpec(seconds=plan.seconds, streams=streams, omit=plan.omit)
        result = iperf.measure(pair.source, pair.target, pair.address, spec)
        return Sample(result.bps, {"retransmits": result.retransmits})

    return measure


def pings(one: Contestant, case: Case, plan: Plan) -> Sample:
    """Average of some pings, in ms."""
    pair = one.pairs[case.where]
    ping.measure(pair.source, pair.address, count=10, interval=PING_INTERVAL)
    result = ping.measure(pair.source, pair.address, count=plan.pings, interval=PING_INTERVAL)
    if result.avg_ms is None or result.median_ms is None or result.loss_percent > 1:
        raise MeasurementError(
            f"{one.name}: {result.received} of {result.sent} pings were answered",
            where=pair.source.name,
            next_step="bring two-hosts up, and ping between its VMs",
        )
    return Sample(result.avg_ms, {"median": result.median_ms, "min": result.min_ms, "max": result.max_ms})


def transactions(one: Contestant, case: Case, plan: Plan) -> Sample:
    """Mean round trip of one byte each way over TCP, in us: one second over transactions per second."""
    pair = one.pairs[case.where]
    spec = RoundTripSpec(seconds=plan.round_trip_seconds)
    result = round_trip.measure(pair.source, pair.target, pair.address, spec)
    return Sample(result.mean_us, asdict(result))


def packets(one: Contestant, case: Case, plan: Plan) -> Sample:
    """64-byte UDP packets per second that arrive, at the best of several offered rates.

    A sender without a limit takes CPU from the receiver: the result then shows which side had no CPU, not which is
    fast. So lower rates are offered too, the same shares for all contestants.
    """
    pair = one.pairs[case.where]
    spec = PacketRateSpec(seconds=max(1.0, plan.seconds / 2))
    found = [packet_rate.measure(pair.source, pair.target, pair.address, spec)]
    for share in (1.5, 1.1):
        offer = share * max(result.delivered_pps for result in found)
        found.append(packet_rate.measure(pair.source, pair.target, pair.address, replace(spec, rate_pps=offer)))
    best = max(found, key=lambda result: result.delivered_pps)
    return Sample(best.delivered_pps, {"offers": [asdict(result) for result in found]})


def cpu_per_gigabyte(one: Contestant, case: Case, plan: Plan) -> Sample:
    """CPU seconds of hosts, VMs and the kernel for each 10^9 bytes of one TCP stream."""
    pair = one.pairs[case.where]
    members = run_cost.run_processes(one.run) if one.run is not None else []
    before = cpu_window.read()
    result = iperf.measure(pair.source, pair.target, pair.address, IperfSpec(seconds=plan.seconds))
    after = cpu_window.read()
    ours = cpu_window.descendants(after.processes, os.getpid()) | {member.process.pid for member in members}
    spent = cpu_window.cost(before, after, ours, members)
    gigabytes = result.bps * result.seconds / 8e9
    detail = {
        **asdict(spent),
        "gigabytes": gigabytes,
        "iperf3": (result.cpu_client + result.cpu_server) / 100 * result.seconds,
    }
    return Sample(spent.cpu_seconds / gigabytes, detail)


_LATENCY = (
    Case("ping, two hosts", "two hosts", "ms", "less", pings, latency=True, also=("median",)),
    Case("ping, same host", "same host", "ms", "less", pings, latency=True, also=("median",)),
    Case(
        "round trip (TCP_RR), two hosts", "two hosts", "us", "less", transactions, latency=True,
        also=("p50_us", "p99_us"),
    ),
    Case(
        "round trip (TCP_RR), same host", "same host", "us", "less", transactions, latency=True,
        also=("p50_us", "p99_us"),
    ),
)  # fmt: skip

AWAKE = ", CPUs kept awake"

CASES = (
    Case("TCP, two hosts, 1 stream", "two hosts", "bit/s", "more", tcp(1)),
    Case("TCP, two hosts, 16 streams", "two hosts", "bit/s", "more", tcp(16)),
    Case("TCP, same host, 1 stream", "same host", "bit/s", "more", tcp(1)),
    Case("64-byte UDP, two hosts", "two hosts", "packet/s", "more", packets),
    Case("CPU per GB, two hosts, 1 stream", "two hosts", "s/GB", "less", cpu_per_gigabyte),
    *_LATENCY,
)
AWAKE_CASES = tuple(replace(case, name=case.name + AWAKE, awake=True) for case in _LATENCY)
