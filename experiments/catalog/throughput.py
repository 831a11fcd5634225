"""TCP throughput of every generation (paper figure 8), by number of streams."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import override

from experiments.frame import generation_comparison
from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable
from experiments.frame.parameters import Parameter, Values
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec


class Throughput(Experiment):
    """TCP throughput, by generation and number of streams."""

    name = "throughput"
    order = 10
    title = "TCP throughput by generation"
    source = "figure 8"
    measures = (
        "TCP between two VMs on two hosts, every generation, 1 to 200 streams; beside them a bare veth pair, no switch"
    )
    minutes = 4.5
    parameters = (
        generation_comparison.GENERATIONS_PARAMETER,
        Parameter("streams", (1, 4, 16, 64, 200), "", "TCP streams at a time", quick=(1, 16), least=1, most=1000),
        Parameter("seconds", 2, "s", "of each measurement", quick=1, least=1, most=60),
        Parameter("omit", 1, "s", "left out at its start", quick=0, least=0, most=10),
    )

    @override
    def points(self, values: Values) -> list[Point]:
        return [
            {"generation": name, "streams": number}
            for number in values["streams"]
            for name in (*generation_comparison.chosen(values), generation_comparison.BARE)
        ]

    @override
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        spec = IperfSpec(seconds=values["seconds"], omit=values["omit"])
        with generation_comparison.ends_of(bench, point["generation"]) as ends:
            taken = iperf.together(ends.source, ends.target, ends.address, spec, point["streams"])
        bench.raw("iperf3", [one.record() for one in taken])
        if errors := [one.error for one in taken if one.result is None]:
            yield Sample("throughput", None, "Gbit/s", point, errors[0] or "no result")
            return
        results = [one.result for one in taken if one.result is not None]
        yield Sample("throughput", sum(one.bps for one in results) / 1e9, "Gbit/s", point)
        retransmits = [one.retransmits for one in results if one.retransmits is not None]
        if len(retransmits) == len(results):  # every sender has the count
            yield Sample("retransmits", sum(retransmits), "segments", point)

    @override
    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        names = generation_comparison.measured(table, "throughput")
        lines = [
            table.line("throughput", "streams", name, generation=name) for name in (*names, generation_comparison.BARE)
        ]
        most = max(values["streams"])
        return [
            generation_comparison.chart_beside_paper(
                table, "throughput", "generations", f"Throughput by generation, {most} streams", "8", "throughput",
                streams=most,
            ),
            Chart(
                "streams", "Throughput over streams", "TCP streams", "Gbit/s received", lines, log_x=True, log_y=True
            ),
        ]  # fmt: skip

    @override
    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        most = max(values["streams"])
        found = generation_comparison.measured(table, "throughput", streams=most)
        return [
            generation_comparison.order_verdict(
                found, "8", "throughput", f"each version carries more than the last, {most} streams, Gbit/s"
            ),
            generation_comparison.gain_verdict(
                found,
                16,
                19,
                "throughput grew 19 times in five years",
                more=True,
                bare=table.median("throughput", generation=generation_comparison.BARE, streams=most),
            ),
        ]
