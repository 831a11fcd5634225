"""A noisy VM and its neighbour (paper section 6.1): a flood going out or coming in, with and without protection."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict

from typing_extensions import override

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values
from experiments.frame.sample_statistics import ratio
from experiments.statistics import percentile
from experiments.tools import packet_rate, ping
from experiments.tools.packet_rate import PacketRateSpec
from hoverboard.contract.errors import MeasurementError
from topologies.run.testbed import Testbed
from topologies.spec import schema
from topologies.spec.topology import Topology

_NOISE = ("none", "egress", "ingress")
_SCHEDULERS = ("priority", "arrival")
_INTERVAL = 0.005  # seconds between pings
_LEAST_SAMPLES = 3  # of each scheduler; fewer give no useful interval
_CLEARLY = 1.25  # the ratio from which the difference counts as clear
_QUEUE_FULL = "vm-queue-full"


class Isolation(Experiment):
    """A victim's round trip and loss, by its neighbour's flood and by scheduler."""

    name = "isolation"
    order = 120
    title = "A noisy neighbour"
    source = "section 6.1"
    measures = "a victim's p99 round trip and loss while a neighbour sends or gets a flood of small packets, with and "
    measures += "without the VM priority scheduler"
    minutes = 3.0
    repeat = 6  # p99 differs more than twofold between repetitions
    parameters = (
        Parameter("noise", _NOISE, "", "the neighbour's flood: its direction", choices=_NOISE),
        Parameter("schedulers", _SCHEDULERS, "", "VM priority scheduler, or packets in order of arrival",
                  choices=_SCHEDULERS),
        Parameter("pings", 300, "", "of the victim, 5 ms apart", quick=100, least=20, most=100_000),
        Parameter("rate", 0, "packets/s", "of the flood; 0: as many as possible", least=0),
    )  # fmt: skip

    @override
    def points(self, values: Values) -> list[Point]:
        return [{"noise": noise, "scheduler": one} for noise in values["noise"] for one in values["schedulers"]]

    @override
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        testbed = bench.testbed(topology(point["scheduler"]))
        pings = values["pings"]
        if point["noise"] == "none":
            found = _victim(testbed, pings)
        else:
            before = _queue_full(testbed)
            spec = PacketRateSpec(seconds=pings * _INTERVAL * 1.5 + 1.0, rate_pps=values["rate"] or None)
            with ThreadPoolExecutor(1) as pool:
                flood = pool.submit(_flood, testbed, point["noise"], spec)
                found = _victim(testbed, pings)
                if flood.done():  # the flood ended first, so it did not disturb all pings
                    flood.result()
                    raise MeasurementError(
                        "the flood ended before the pings did", next_step="check the load of the machine, and retry"
                    )
                noise = flood.result()
            bench.raw("flood", asdict(noise))
            yield Sample("dropped by full VM queues", float(_queue_full(testbed) - before), "packets", point)
            yield Sample("flood offered", noise.offered_pps / 1e3, "1000 packets/s", point)
            yield Sample("flood delivered", noise.delivered_pps / 1e3, "1000 packets/s", point)
        bench.raw("ping", found.text)
        yield Sample("loss", found.loss_percent, "%", point)
        if found.samples:
            yield Sample("p50", 1e3 * percentile(found.samples, 0.5), "us", point)
            yield Sample("p99", 1e3 * percentile(found.samples, 0.99), "us", point)

    @override
    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        made = []
        for metric, unit in (("p99", "us"), ("loss", "%")):
            series = []
            for one in table.seen("scheduler", metric):
                noise = [
                    name for name in table.seen("noise", metric) if table.values(metric, noise=name, scheduler=one)
                ]
                found = [s for name in noise if (s := table.spread(metric, noise=name, scheduler=one))]
                label = "VM priority scheduler" if one == "priority" else "in order of arrival"
                series.append(Series(label, noise, [s.median for s in found], found))
            title = "The victim's p99 round trip" if metric == "p99" else "The victim's lost pings"
            made.append(Chart(metric, title, "its neighbour's flood", unit, series, kind="bars"))
        return made

    @override
    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        return [_shielded(table), _polled_in_turn(table)]


def _shielded(table: SampleTable) -> ClaimVerdict:
    """The verdict on the scheduler: the interval of the ratio of the medians must not contain 1."""
    claim, theirs = (
        "the VM priority scheduler shields a victim from a flood to its neighbour (6.1.1)",
        "no number given",
    )
    with_it, without = (table.values("p99", noise="ingress", scheduler=one) for one in _SCHEDULERS)
    if min(len(with_it), len(without)) < _LEAST_SAMPLES:
        return ClaimVerdict(
            claim, theirs, "", "not measured",
            f"p99 scatters: needs the flood with both schedulers, {_LEAST_SAMPLES} repetitions or more.",
        )  # fmt: skip
    times = ratio(without, with_it)
    lost = [table.median("loss", noise="ingress", scheduler=one) or 0.0 for one in _SCHEDULERS]
    ours = f"p99 in order of arrival {times.value:.2f} times as long (95 %: {times.low:.2f} to {times.high:.2f}); "
    ours += f"lost {lost[0]:.1f} % against {lost[1]:.1f} %"
    if times.low > 1:
        why = "the interval leaves out 1, and 1 means no difference."
        return ClaimVerdict(claim, theirs, ours, "reproduced" if times.value >= _CLEARLY else "partly", why)
    full = table.median("dropped by full VM queues", noise="ingress", scheduler="priority")
    why = "the interval shows no improvement beyond chance; "
    if full == 0:
        why += "the noisy VM's queue never filled: packets wait in the NIC, before the engine has sorted them."
    else:
        why += "both ends of the flood run on the same two cores, and our scheduler does not divide CPU time."
    return ClaimVerdict(claim, theirs, ours, "not", why)


def _polled_in_turn(table: SampleTable) -> ClaimVerdict:
    claim, theirs = (
        "VMs are polled in turn: a flood going out leaves its neighbour its share (6.1.1)",
        "no number given",
    )
    with_it = table.median("p99", noise="egress", scheduler="priority")
    lost = table.median("loss", noise="egress", scheduler="priority")
    quiet = table.median("p99", noise="none", scheduler="priority")
    if with_it is None or lost is None or quiet is None:
        return ClaimVerdict(claim, theirs, "", "not measured", "needs the flood and the quiet neighbour.")
    good, half = lost <= 1 and with_it <= 3 * quiet, lost <= 5
    return ClaimVerdict(
        claim, theirs, f"p99 {with_it:.0f} us, {lost:.1f} % lost; quiet {quiet:.0f} us",
        "reproduced" if good else "partly" if half else "not",
        "the VM that sends the flood runs on the cores that the engine needs.",
    )  # fmt: skip


def topology(scheduler: str) -> Topology:
    """The victim and the noisy VM on one host. The peer of each is on another host."""
    vms = [("victim", "h1"), ("noisy", "h1"), ("friend", "h2"), ("far", "h3")]
    keys = {
        "hosts": 3,
        "hoverboards": 0,
        "model": "preprogrammed",
        "vm_priority": scheduler == "priority",
        "networks": [
            {"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": [{"name": n, "host": h} for n, h in vms]}
        ],
    }
    return schema.from_keys(keys, name=f"isolation-{scheduler}")


def _address(testbed: Testbed, name: str) -> str:
    return next(str(vm.ip) for vm in testbed.topology.vms if vm.name == name)


def _flood(testbed: Testbed, noise: str, spec: PacketRateSpec) -> packet_rate.PacketRateResult:
    source, target = ("noisy", "far") if noise == "egress" else ("far", "noisy")
    return packet_rate.measure(testbed.node(source), testbed.node(target), _address(testbed, target), spec)


def _victim(testbed: Testbed, pings: int) -> ping.PingResult:
    """Ping the victim from its peer. The first 40 pings do not count, and the flood starts during them."""
    source, address = testbed.node("friend"), _address(testbed, "victim")
    ping.measure(source, address, count=40, interval=0.01)
    return ping.measure(source, address, count=pings, interval=_INTERVAL)


def _queue_full(testbed: Testbed) -> int:
    """The number of packets that the victim's host has dropped because of a full VM queue."""
    with closing(testbed.host_client("h1")) as client:
        return int(client.status()["counters"]["drops"].get(_QUEUE_FULL, 0))
