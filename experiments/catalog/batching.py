"""Batches of 1 to 128 packets (paper section 4.2), in the engine alone and between two VMs."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from statistics import median
from typing import Any

from typing_extensions import override

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values
from experiments.tools import packet_rate
from experiments.tools.packet_rate import PacketRateSpec
from topologies.spec import schema
from topologies.spec.topology import MOST_EGRESS, MOST_INGRESS, Topology

_PAPER = 2.4
_CLAIM = "batching raises the peak packet rate 2.4 times"


class Batching(Experiment):
    """The packet rate by batch size, of the engine alone and between two VMs."""

    name = "batching"
    order = 140
    title = "Packets taken at a time"
    source = "section 4.2"
    measures = "batches of 1 to 128: ns a packet of the egress engine alone, and packets per second VM to VM"
    minutes = 3.0
    parameters = (
        Parameter("batches", (1, 2, 4, 8, 16, 32), "packets", "of the engine alone", quick=(1, 32), least=1,
                  most=MOST_EGRESS),
        Parameter("live", (1, 8, 32, 128), "packets", "at ingress, VM to VM; at egress at most 32", quick=(1, 128),
                  least=1, most=MOST_INGRESS),
        Parameter("flows", 100_000, "", "in the engine's table", quick=10_000, least=1, most=200_000),
        Parameter("rounds", 9, "", "of the engine alone; each is a sample", quick=5, least=1, most=100),
        Parameter("seconds", 1.0, "s", "of each packet rate", quick=0.4, least=0.1, most=60),
    )  # fmt: skip

    @override
    def points(self, values: Values) -> list[Point]:
        return [{"what": "engine"}, *({"what": "live", "batch": batch} for batch in values["live"])]

    @override
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        if point["what"] == "engine":
            yield from _engine(values, bench)
            return
        testbed = bench.testbed(topology(point["batch"]))
        here, there = testbed.topology.vms
        measure = partial(packet_rate.measure, testbed.node(here.name), testbed.node(there.name), str(there.ip))
        # A sender at full rate takes the CPU from the receiver, so lower rates are tried too.
        spec = PacketRateSpec(seconds=values["seconds"])
        found = [measure(spec)]
        for share in (1.5, 1.1):
            offer = share * max(one.delivered_pps for one in found)
            found.append(measure(replace(spec, rate_pps=offer)))
        bench.raw("offers", [asdict(one) for one in found])
        best = max(one.delivered_pps for one in found)
        yield Sample("packet rate", best / 1e3, "1000 packets/s", {"batch": point["batch"]})

    @override
    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        engine = table.line("engine", "batch", "egress engine alone", lambda ns: 1e3 / ns)
        live = table.line("packet rate", "batch", "VM to VM, 64 bytes")
        return [
            Chart(f"{name}-gain", title, "packets at a time", "times batch 1", [
                Series(line.label, line.x, [y / line.y[0] for y in line.y],
                       [replace(one, low=one.low / line.y[0], median=one.median / line.y[0], high=one.high / line.y[0])
                        for one in line.spreads]),
                Series("section 4.2, peak", line.x, [_PAPER] * len(line.x), paper=True),
            ], log_x=True)
            for name, title, line in (("engine", "Packet rate of the engine over the batch", engine),
                                      ("live", "Packet rate VM to VM over the batch", live))
            if line.y
        ]  # fmt: skip

    @override
    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        ns = {batch: table.median("engine", batch=batch) for batch in values["batches"]}
        rates = {batch: table.median("packet rate", batch=batch) for batch in values["live"]}
        alone = {batch: 1e3 / one for batch, one in ns.items() if one}
        live = {batch: one for batch, one in rates.items() if one}
        return [
            _verdict(f"{_CLAIM} (the engine alone)", alone, "million packets/s", "memory ports, one core, no NIC."),
            _verdict(f"{_CLAIM} (VM to VM)", live, "1000 packets/s",
                     "system calls of the taps take most of the time, one for each packet in any batch."),
        ]  # fmt: skip


def _verdict(claim: str, rates: dict[Any, float], unit: str, why: str) -> ClaimVerdict:
    if 1 not in rates or len(rates) < 2:
        return ClaimVerdict(claim, f"{_PAPER} x", "", "not measured", "needs batch 1 and another.")
    best = max(rates, key=lambda batch: rates[batch])
    ratio = rates[best] / rates[1]
    return ClaimVerdict(
        claim, f"{_PAPER} x", f"{ratio:.2f} x ({rates[1]:.3g} -> {rates[best]:.3g} {unit} at {best})",
        "reproduced" if ratio >= 2 else "partly" if ratio >= 1.2 else "not", why, ratio / _PAPER,
    )  # fmt: skip


def topology(batch: int) -> Topology:
    """Two VMs on two hosts whose engines take `batch` packets at a time."""
    keys = {
        "hosts": 2,
        "hoverboards": 0,
        "model": "preprogrammed",
        "batch": {"egress": min(batch, MOST_EGRESS), "ingress": batch},
        "networks": [{"name": "blue", "vni": 7, "subnet": "10.0.0.0/24", "vms": 2}],
    }
    return schema.from_keys(keys, name=f"batch-{batch}")


def _engine(values: Values, bench: Bench) -> Iterable[Sample]:
    """Samples of the engine alone in ns a packet. Each round measures all batch sizes in a random order."""
    import numpy as np

    from experiments.tools import engine_loop
    from hoverboard.fastpath.engine.compose import compose
    from hoverboard.fastpath.memory import ports, rings

    dice: random.Random = bench.random()
    bench.say("batching: filling the engine's table")
    datapath, one = engine_loop.prepare(values["flows"]), engine_loop.frame()
    drive, memory, clock = engine_loop.driver(compose()), datapath.egress, np.zeros(2, np.int64)
    order = np.random.default_rng(dice.getrandbits(32)).integers(0, values["flows"], 1 << 18)
    drive(memory, one, order[: 32 * rings.SIDE_SLOTS], clock)
    found: dict[int, list[float]] = {batch: [] for batch in values["batches"]}
    for number in range(values["rounds"]):
        bench.say(f"batching: the engine alone, round {number + 1} of {values['rounds']}")
        for batch in dice.sample(list(found), len(found)):
            datapath.set_batch(batch, batch)
            before = int(memory.port_stats[ports.UPLINK, 2])
            spent = int(drive(memory, one, order, clock))
            found[batch].append(spent / (int(memory.port_stats[ports.UPLINK, 2]) - before))
    bench.raw("engine-ns", {"median": {batch: median(several) for batch, several in found.items()}, "all": found})
    for batch, several in found.items():
        yield from (Sample("engine", ns, "ns/packet", {"batch": batch}) for ns in several)
