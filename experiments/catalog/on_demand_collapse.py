"""Many first packets at once: the on-demand model overloads its controller, a Hoverboard carries them (section 6.3).

Flooding VMs send to new destinations all the time, like a scan or a crawler. The experiment measures the first round
trips of other pairs on the same hosts. The destinations are intent only: they have no namespace.
The default generation is `ovs`, as in the paper's outage. There one default route matches all destinations. The fast
path asks Open vSwitch about each new flow, and about 500 new flows a second are too many for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, numbers, whole, words
from experiments.tools import ping
from experiments.workload import vm_join
from experiments.workload.flood import flooding
from topologies.run import host_pairs
from topologies.run.testbed import Testbed
from topologies.spec import schema

ON_DEMAND, HOVERBOARD = "on-demand", "hoverboard"
_PER_VM = 40  # first packets a second, below the limit of 50 a vport: only their sum is too much
_VICTIMS = 12
_PINGED = 2  # VMs that ping when the run starts
_WAIT = 1.0  # seconds after which a first packet counts as lost


class OnDemandCollapse(Experiment):
    """First packets of some pairs while other VMs send to new destinations."""

    name = "on-demand-collapse"
    order = 100
    title = "First packets under a load of first packets"
    source = "sections 3.3 and 6.3"
    measures = (
        "The round trip of a pair's first packet, and whether an answer comes within a second. Other VMs send to new "
        "destinations at a rising rate; on demand and with Hoverboards."
    )
    minutes = 3.0
    repeat = 1
    parameters = (
        Parameter("models", (ON_DEMAND, HOVERBOARD), "", "programming models", choices=(ON_DEMAND, HOVERBOARD)),
        Parameter("flooders", (0, 3, 6, 12, 24), "VMs", f"that reach for {_PER_VM} new destinations a second each",
                  quick=(8,), least=0, most=60),
        Parameter("dataplane", "ovs", "", "generation; with fastpath the hosts' flow misses are the limit",
                  choices=("ovs", "fastpath")),
        Parameter("destinations", 8_000, "VMs", "that are intent only", quick=1_000, least=100, most=20_000),
    )  # fmt: skip

    def points(self, values: Values) -> list[Point]:
        """One point for each load and model."""
        return [
            {"model": model, "flooders": int(count), "first packets a second": int(count) * _PER_VM}
            for count in numbers(values, "flooders")
            for model in words(values, "models")
        ]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure on a fresh testbed, whose caches are empty."""
        count = int(max(numbers(values, "flooders")))
        testbed = bench.fresh(_topology(point["model"], str(values["dataplane"]), count + 2 * _VICTIMS + _PINGED))
        network, vms = testbed.topology.networks[0], list(testbed.topology.vms)
        hosts = [server.name for server in testbed.topology.hosts]
        intent = list(itertools.islice(vm_join.entities(network, hosts), whole(values, "destinations")))
        vm_join.load_intent(testbed, intent)
        known = host_pairs.pinged(testbed.topology)  # their first packets have gone when the run is up
        here, there = ([vm for vm in vms if vm.host == name and vm.name not in known] for name in hosts)
        senders, targets = here[:_VICTIMS], there[:_VICTIMS]
        victims = {vm.name for vm in (*senders, *targets)}
        flooders = [vm.name for vm in vms if vm.name not in victims | known][: point["flooders"]]
        before = _controller_packets(testbed)
        with flooding(testbed, flooders, [str(vm.ip) for vm in intent], _PER_VM) as flood:
            for sender, target in zip(senders, targets, strict=True):
                found = ping.measure(testbed.node(sender.name), str(target.ip), count=1, wait=_WAIT)
                yield Sample("answered", float(bool(found.samples)), "share", point)
                if found.samples:
                    yield Sample("first round trip", found.samples[0], "ms", point)
        yield Sample("sent", float(flood.sent), "first packets", point)
        for name, count in _controller_packets(testbed).items():
            yield Sample(name, float(count - before[name]), "packets to the controller", point)

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """First round trips and answered packets, by load."""
        models = table.seen("model")
        load, x = "first packets a second", "first packets a second of all flooding VMs"
        return [
            Chart(
                "first-round-trip", "A bystander's first round trip", x, "ms",
                [table.line("first round trip", load, name, model=name) for name in models], log_y=True,
            ),
            Chart(
                "answered", f"Bystanders answered within {_WAIT:g} s", x, "share of first packets",
                [_shares(table, load, name) for name in models],
            ),
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdict on both models at the largest load."""
        loads = [load for load in table.seen("flooders") if load]
        if not loads:
            return []
        most = max(loads)
        shares = {name: table.values("answered", model=name, flooders=most) for name in (ON_DEMAND, HOVERBOARD)}
        times = {name: table.median("first round trip", model=name, flooders=most) for name in (ON_DEMAND, HOVERBOARD)}
        if not all(shares.values()):
            return []
        answered = {name: sum(found) / len(found) for name, found in shares.items()}
        measured = {
            name: f"{answered[name]:.0%} answered, median {time:.0f} ms" if (time := times[name]) else "none answered"
            for name in answered
        }
        slower = (times[ON_DEMAND] or _WAIT * 1e3) / (times[HOVERBOARD] or _WAIT * 1e3)
        fails = answered[ON_DEMAND] < answered[HOVERBOARD] - 0.2
        stands = answered[HOVERBOARD] > 0.9
        return [
            ClaimVerdict(
                "under many first packets on demand collapses, the Hoverboard model does not", "an outage",
                f"{ON_DEMAND}: {measured[ON_DEMAND]}; {HOVERBOARD}: {measured[HOVERBOARD]}, "
                f"at {most * _PER_VM} a second",
                "reproduced" if stands and fails else "partly" if fails or slower > 2 else "not",
                f"A vport may ask 50 times a second. Each flooding VM stays below that; only their sum is too much "
                f"(first round trips {slower:.1f} times as long on demand).",
            )
        ]  # fmt: skip


def _topology(model: str, dataplane: str, vms: int) -> object:
    network = {"name": "blue", "vni": 7, "subnet": "10.0.0.0/16", "vms": vms}
    keys = {"hosts": 2, "hoverboards": 1, "model": model, "dataplane": dataplane, "networks": [network]}
    return schema.from_keys(keys, name="on-demand-collapse")


def _shares(table: SampleTable, load: str, model: str) -> Series:
    found = [(one, table.values("answered", model=model, **{load: one})) for one in table.seen(load, "answered")]
    some = [(one, several) for one, several in found if several]
    n = max((len(several) for _, several in some), default=0)
    return Series(f"{model}, n = {n}", [one for one, _ in some], [sum(several) / len(several) for _, several in some])


def _controller_packets(testbed: Testbed) -> dict[str, int]:
    """The first packets that the controller has received, and those it did not answer, by reason."""
    counters = testbed.control_status()["counters"]
    names = {"asked": "packets_in", "over the limit": "packets_in_limited", "unknown": "packets_in_unknown"}
    return {name: int(counters[counter]) for name, counter in names.items()}
