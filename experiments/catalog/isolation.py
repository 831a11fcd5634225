"""Section 6.1: what a noisy VM does to its neighbour, on the way out and on the way in, with and without protection."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from experiments import packet_rate, ping
from experiments.frame.experiment import Bench, Chart, Experiment, Point, Sample, Series, Table, Verdict
from experiments.frame.parameters import Parameter, Values
from experiments.frame.statistics import percentile
from experiments.packet_rate import PacketRateSpec
from hoverboard.contract.errors import MeasurementError
from topologies import schema
from topologies.testbed import Testbed
from topologies.topology import Topology

_NOISE = ("none", "egress", "ingress")
_SCHEDULERS = ("priority", "arrival")
_INTERVAL = 0.005  # seconds between pings


class Isolation(Experiment):
    name = "isolation"
    title = "A noisy neighbour"
    source = "section 6.1"
    measures = "a victim's p99 round trip and loss beside a VM that floods small packets out or gets them, with and "
    measures += "without the VM priority scheduler"
    minutes = 2.0
    parameters = (
        Parameter("noise", _NOISE, "", "what the neighbour does", choices=_NOISE),
        Parameter("schedulers", _SCHEDULERS, "", "VM priority scheduler, or packets in order of arrival",
                  choices=_SCHEDULERS),
        Parameter("pings", 300, "", "of the victim, 5 ms apart", quick=100, least=20, most=100_000),
        Parameter("rate", 0, "packets/s", "of the flood; 0: all that goes", least=0),
    )  # fmt: skip

    def points(self, values: Values) -> list[Point]:
        return [{"noise": noise, "scheduler": one} for noise in values["noise"] for one in values["schedulers"]]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        bed = bench.testbed(topology(point["scheduler"]))
        pings = values["pings"]
        if point["noise"] == "none":
            found = _victim(bed, pings)
        else:
            spec = PacketRateSpec(seconds=pings * _INTERVAL * 1.5 + 1.0, rate_pps=values["rate"] or None)
            with ThreadPoolExecutor(1) as pool:
                flood = pool.submit(_flood, bed, point["noise"], spec)
                found = _victim(bed, pings)
                if flood.done():  # it ended before the victim did, and so did not disturb all of it
                    flood.result()
                    raise MeasurementError("the flood ended before the pings did", next_step="is the machine busy?")
                noise = flood.result()
            bench.raw("flood", asdict(noise))
            yield Sample("flood offered", noise.offered_pps / 1e3, "1000 packets/s", point)
            yield Sample("flood delivered", noise.delivered_pps / 1e3, "1000 packets/s", point)
        bench.raw("ping", found.text)
        yield Sample("loss", found.loss_percent, "%", point)
        if found.samples:
            yield Sample("p50", 1e3 * percentile(found.samples, 0.5), "us", point)
            yield Sample("p99", 1e3 * percentile(found.samples, 0.99), "us", point)

    def charts(self, table: Table, values: Values) -> list[Chart]:
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

    def verdicts(self, table: Table, values: Values) -> list[Verdict]:
        return [
            _verdict(
                table, "ingress", "arrival",
                "the VM priority scheduler shields a victim from a flood to its neighbour (6.1.1)",
                "the flood's own ends run on the same two cores, whose time no scheduler of ours gives out.",
            ),
            _verdict(
                table, "egress", None,
                "VMs are polled in turn: a flood going out leaves its neighbour its share (6.1.1)",
                "the guest that floods is itself on the cores that the engine needs.",
            ),
        ]  # fmt: skip


def _verdict(table: Table, noise: str, against: str | None, claim: str, why: str) -> Verdict:
    theirs = "no number given"
    with_it = table.median("p99", noise=noise, scheduler="priority")
    lost = table.median("loss", noise=noise, scheduler="priority")
    quiet = table.median("p99", noise="none", scheduler="priority")
    if with_it is None or lost is None or quiet is None:
        return Verdict(claim, theirs, "", "not measured", "needs the flood and the quiet neighbour.")
    ours = f"p99 {with_it:.0f} us, {lost:.1f} % lost; quiet {quiet:.0f} us"
    if against is None:
        good, half = lost <= 1 and with_it <= 3 * quiet, lost <= 5
    else:
        other, more = (
            table.median("p99", noise=noise, scheduler=against),
            table.median("loss", noise=noise, scheduler=against),
        )
        if other is None or more is None:
            return Verdict(claim, theirs, ours, "not measured", "needs both schedulers.")
        ours += f"; in order of arrival {other:.0f} us, {more:.1f} % lost"
        good = with_it < 0.8 * other and lost <= more or lost < more / 2 and with_it <= other
        half = with_it < other or lost < more
    return Verdict(claim, theirs, ours, "reproduced" if good else "partly" if half else "not", why)


def topology(scheduler: str) -> Topology:
    """Victim and noisy VM on one host, whom each talks to on a host of its own."""
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


def _address(bed: Testbed, name: str) -> str:
    return next(str(vm.ip) for vm in bed.topology.vms if vm.name == name)


def _flood(bed: Testbed, noise: str, spec: PacketRateSpec) -> packet_rate.PacketRateResult:
    source, target = ("noisy", "far") if noise == "egress" else ("far", "noisy")
    return packet_rate.measure(bed.node(source), bed.node(target), _address(bed, target), spec)


def _victim(bed: Testbed, pings: int) -> ping.PingResult:
    """The victim is pinged from its friend, after a few that do not count: the flood has begun by then."""
    source, address = bed.node("friend"), _address(bed, "victim")
    ping.measure(source, address, count=40, interval=0.01)
    return ping.measure(source, address, count=pings, interval=_INTERVAL)
