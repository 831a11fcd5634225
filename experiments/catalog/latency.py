"""The TCP round trip of every generation (paper figure 9), with CPUs that may halt and CPUs that are kept awake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import asdict

from typing_extensions import override

from experiments.frame import generation_comparison
from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values
from experiments.tools import round_trip
from experiments.tools.no_cpu_idle import keep_cpus_awake
from experiments.tools.round_trip import RoundTripSpec

_PERCENTILES = {"p50": "p50_us", "p90": "p90_us", "p99": "p99_us", "p99.9": "p999_us"}
_LONGEST = 120.0  # seconds after which a spinner ends by itself
_WHY = (
    "The oldest generation here has no VM exits. The newest wakes threads on two shared cores; the paper's newest polls"
)
_WHY_ORDER = (
    "Open vSwitch in user space sleeps and wakes; the paper's 1.0 ran in the kernel. The oldest generation here has no "
    "VM exits"
)


class Latency(Experiment):
    """The TCP round trip, by generation."""

    name = "latency"
    order = 20
    title = "TCP round trip by generation"
    source = "figure 9"
    measures = (
        "one byte there and back over TCP between two VMs on two hosts: mean and percentiles, every generation; beside "
        "them a bare veth pair"
    )
    minutes = 1.5
    repeat = 5
    parameters = (
        generation_comparison.GENERATIONS_PARAMETER,
        Parameter("cpus", ("halting", "awake"), "", "may halt, or are kept awake by spinners of the lowest class",
                  quick=("awake",), choices=("halting", "awake")),
        Parameter("seconds", 1.0, "s", "of each measurement", quick=0.5, least=0.1, most=60),
    )  # fmt: skip

    @override
    def points(self, values: Values) -> list[Point]:
        names = (*generation_comparison.chosen(values), generation_comparison.BARE)
        return [{"generation": name, "cpus": cpus} for cpus in values["cpus"] for name in names]

    @override
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        spinning = keep_cpus_awake(_LONGEST) if point["cpus"] == "awake" else contextlib.nullcontext()
        with generation_comparison.ends_of(bench, point["generation"]) as ends, spinning:
            found = round_trip.measure(ends.source, ends.target, ends.address, RoundTripSpec(seconds=values["seconds"]))
        bench.raw("round-trips", asdict(found))
        yield Sample("mean", found.mean_us, "us", point)
        for name, field in _PERCENTILES.items():
            yield Sample(name, getattr(found, field), "us", point)

    @override
    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        made = []
        for cpus in table.seen("cpus", "mean"):
            names = [*generation_comparison.measured(table, "mean", cpus=cpus)]
            names += (
                [generation_comparison.BARE]
                if table.values("mean", generation=generation_comparison.BARE, cpus=cpus)
                else []
            )
            series = []
            for metric in _PERCENTILES:
                found = {name: one for name in names if (one := table.spread(metric, generation=name, cpus=cpus))}
                series.append(Series(metric, list(found), [one.median for one in found.values()], list(found.values())))
            made += [
                generation_comparison.chart_beside_paper(
                    table, "mean", f"generations-{cpus}", f"Mean round trip by generation, CPUs {cpus}", "9", "TCP RTT",
                    cpus=cpus,
                ),
                Chart(f"percentiles-{cpus}", f"Round trips by percentile, CPUs {cpus}", "generation", "us",
                      series, kind="bars", log_y=True),
            ]  # fmt: skip
        return made

    @override
    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        made = []
        for cpus in values["cpus"]:
            found = generation_comparison.measured(table, "mean", cpus=cpus)
            bare = table.median("mean", generation=generation_comparison.BARE, cpus=cpus)
            since = {name: value for name, value in found.items() if name != "pre"}
            made += [
                generation_comparison.order_verdict(
                    found, "9", "TCP RTT", f"the versions' order in mean round trip, us (CPUs {cpus})", why=_WHY_ORDER
                ),
                generation_comparison.gain_verdict(
                    found,
                    7,
                    7,
                    f"the round trip became 7 times shorter (CPUs {cpus})",
                    more=False,
                    why=_WHY,
                    bare=bare,
                ),
                generation_comparison.gain_verdict(
                    since,
                    5,
                    6.9,
                    f"and nearly as much since 1.0 (CPUs {cpus})",
                    more=False,
                    why=_WHY,
                    since="1.0",
                    bare=bare,
                ),
            ]
        return made
