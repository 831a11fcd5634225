"""The latency of one change (paper section 5.3): a VM joins, by model, beside a quiet or a churning network.

Three real hosts give the time that a VM waits. In the preprogrammed model a change touches every host. Many recording
switches show its cost.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values, whole, words
from experiments.programming.point import Point as Programmed
from experiments.programming.point_process import run_point
from experiments.statistics import percentile
from experiments.workload import vm_join
from experiments.workload.vm_churn import Rounds, churning
from hoverboard.contract.errors import HoverboardError
from topologies.cluster.control_processes import ControlLayout
from topologies.spec import schema

OLD, NEW = "preprogrammed", "hoverboard"
QUIET, CHURNING = "quiet", "churning"
FAIR, SHARED = "one for each network", "one for all"
METRIC, WORK = "joined", "controller work"
_PAPER_MEDIAN, _PAPER_P99 = {OLD: 551.0, NEW: 184.0}, {OLD: 3700.0, NEW: 576.0}


class ProgrammingLatency(Experiment):
    """The time until an added VM answers."""

    name = "programming-latency"
    order = 110
    title = "Latency of one change"
    source = "section 5.3; queues of section 3.1"
    measures = (
        "The time from the request that adds a VM until it answers a VM on another host. The same while thousands of "
        "VMs join and leave another network, with a queue for each network and with one for all. The controller's work "
        "for a change of many hosts."
    )
    minutes = 3.0
    repeat = 1
    parameters = (
        Parameter("models", (OLD, NEW), "", "programming models", quick=(NEW,), choices=(OLD, NEW)),
        Parameter("base", 2_000, "VMs", "in the network before", quick=200, least=0, most=20_000),
        Parameter("add", 40, "VMs", "to add, one after the other", quick=6, least=2, most=500),
        Parameter("churn", 5_000, "VMs", "that join and leave the other network at once", quick=1_000, least=10,
                  most=20_000),
        Parameter("hosts", 400, "hosts", "recorded, for the controller's work", quick=50, least=2, most=1_000),
    )  # fmt: skip

    def points(self, values: Values) -> list[Point]:
        """Each model beside a quiet network; the last model beside a churning one, with both kinds of queue."""
        models = words(values, "models")
        found: list[Point] = [{"model": name, "neighbour": QUIET, "queue": FAIR} for name in models]
        found += [{"model": models[-1], "neighbour": CHURNING, "queue": queue} for queue in (FAIR, SHARED)]
        return found + [{"model": name, "recorded": whole(values, "hosts")} for name in models]

    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure on a fresh testbed. The VM's namespace and NIC exist before the clock starts."""
        if "recorded" in point:
            yield from _recorded(point, whole(values, "add"))
            return
        layout = ControlLayout(shared_queue=point["queue"] == SHARED)
        testbed = bench.fresh(_topology(point["model"]), control=layout)
        hosts = [server.name for server in testbed.topology.hosts]
        blue, red = testbed.topology.networks
        if base := whole(values, "base"):
            bench.say(f"programming-latency: loading {base} VMs")
            vm_join.load_intent(testbed, list(itertools.islice(vm_join.entities(blue, hosts), base)))
        churn = list(itertools.islice(vm_join.entities(red, hosts), whole(values, "churn")))
        with churning(testbed, churn) if point["neighbour"] == CHURNING else contextlib.nullcontext(Rounds()) as rounds:
            for number in range(whole(values, "add")):
                bench.say(f"programming-latency: {point['model']}, {point['neighbour']}, VM {number + 1}")
                try:
                    yield Sample(METRIC, vm_join.join_one(testbed, blue.name).answered, "ms", point)
                except HoverboardError as error:
                    yield Sample(METRIC, None, "ms", point, str(error))
        if point["neighbour"] == CHURNING:
            yield Sample("churn", float(rounds.done), "times all joined or left", point)
            if rounds.error:
                yield Sample("churn", None, "", point, rounds.error)

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The CDFs of all points with real VMs."""
        series = []
        for point in self.points(values):
            if "recorded" in point:
                continue
            found = sorted(table.values(METRIC, **point))
            shares = [(rank + 1) / len(found) for rank in range(len(found))]
            series.append(Series(f"{_name(point)}, n = {len(found)}", found, shares))
        return [
            Chart(
                "programming-latency", "From the request until the new VM answers", "ms", "share of changes", series,
                kind="steps", log_x=True, note=f"A network of {whole(values, 'base')} VMs on 3 hosts.",
            )
        ]  # fmt: skip

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdicts on the two models, and on a churning neighbour."""
        found = []
        old, new = (table.values(WORK, model=name) for name in (OLD, NEW))
        if old and new:
            for what, share, paper in (("median", 0.5, _PAPER_MEDIAN), ("p99", 0.99, _PAPER_P99)):
                ours = percentile(old, share), percentile(new, share)
                theirs, ratio = paper[OLD] / paper[NEW], ours[0] / ours[1]
                found.append(
                    ClaimVerdict(
                        f"the Hoverboard model's {what} is shorter",
                        f"{paper[OLD]:g} -> {paper[NEW]:g} ms ({theirs:.1f}x)",
                        f"{ours[0]:.1f} -> {ours[1]:.1f} ms of the controller's ({ratio:.1f}x)",
                        "reproduced" if ratio > theirs / 2 and ratio > 1.5 else "partly" if ratio > 1.2 else "not",
                        f"Processor time for a change that touches {whole(values, 'hosts')} recorded switches, or 2.",
                        ratio / theirs,
                    )
                )  # fmt: skip
        last = words(values, "models")[-1]
        quiet = table.median(METRIC, model=last, neighbour=QUIET)
        loud, one_queue = (table.median(METRIC, neighbour=CHURNING, queue=queue) for queue in (FAIR, SHARED))
        if quiet and loud:
            times = loud / quiet
            shared = f"; with one queue {one_queue / quiet:.1f}x" if one_queue else ""
            found.append(
                ClaimVerdict(
                    "a churning neighbour does not slow a network down", "a queue for each network",
                    f"median {times:.1f}x{shared}",
                    "reproduced" if times < 2 else "partly" if times < 5 else "not",
                    "Neighbour, controller, switches and VMs share two cores here, and queues cannot change that.",
                )
            )  # fmt: skip
        return found


def _recorded(point: Point, count: int) -> Iterable[Sample]:
    """The processor time of a change in a network with four VMs on each of many recording switches."""
    found = run_point(Programmed(point["model"], 4 * point["recorded"], point["recorded"], more=count))
    for seconds in found["one_more"]["samples"]:
        yield Sample(WORK, seconds * 1e3, "ms", point)


def _name(point: Point) -> str:
    if point["neighbour"] == QUIET:
        return str(point["model"])
    return f"{point['model']}, churning neighbour, queue: {point['queue']}"


def _topology(model: str) -> object:
    networks = [
        {"name": "blue", "vni": 7, "subnet": "10.0.0.0/16", "vms": 3},
        {"name": "red", "vni": 8, "subnet": "10.1.0.0/16", "vms": 3},
    ]
    return schema.from_keys({"hosts": 3, "hoverboards": 1, "model": model, "networks": networks}, name="latency")
