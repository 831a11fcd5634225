"""CPU per byte of every generation (paper figure 10): both ends together, split into guests and hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from typing_extensions import override

from experiments.frame import generation_comparison
from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values
from experiments.observe import cpu_window, run_cost
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from hoverboard.contract.generations import NAMES

_SIDES = ("host", "guest", "total")
_NOTE = "Guest: iperf3's processes with the guest's TCP. Host: everything else that the machine did, softirqs included."


class Cpu(Experiment):
    """CPU time per byte, by generation and side."""

    name = "cpu"
    order = 30
    title = "CPU per byte by generation"
    source = "figure 10"
    measures = "CPU of sender and receiver per byte of one TCP stream, host and guest apart, every generation"
    minutes = 1.0
    parameters = (
        generation_comparison.GENERATIONS_PARAMETER,
        Parameter("streams", 1, "", "TCP streams at a time", least=1, most=iperf.MOST_STREAMS),
        Parameter("seconds", 3, "s", "of each measurement", quick=1, least=1, most=60),
    )

    @override
    def points(self, values: Values) -> list[Point]:
        return [{"generation": name} for name in generation_comparison.chosen(values)]

    @override
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        ends = generation_comparison.pair(bench, point["generation"])
        members = run_cost.run_processes(ends.testbed.run)
        before = cpu_window.read()
        spec = IperfSpec(seconds=values["seconds"], streams=values["streams"])
        result = iperf.measure(ends.source, ends.target, ends.address, spec)
        after = cpu_window.read()
        ours = cpu_window.descendants(after.processes, os.getpid()) | {member.process.pid for member in members}
        spent = cpu_window.cost(before, after, ours, members)
        bench.raw("iperf3", result.raw)
        bench.raw("cpu", asdict(spent))
        size = result.bps * result.seconds / 8
        guest = (result.cpu_client + result.cpu_server) / 100 * result.seconds
        seconds = {"guest": guest, "host": max(0.0, spent.cpu_seconds - guest), "total": spent.cpu_seconds}
        clock = clock_hz()
        for side in _SIDES:
            labels = {**point, "side": side}
            yield Sample("CPU time", 1e9 * seconds[side] / size, "s/GB", labels)
            if clock is not None:
                yield Sample("cycles", clock * seconds[side] / size, "cycles/byte", labels)

    @override
    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        series = []
        for side in _SIDES:
            found = {name: table.spread("CPU time", generation=name, side=side) for name in NAMES}
            kept = {name: one for name, one in found.items() if one is not None}
            series.append(Series(side, list(kept), [one.median for one in kept.values()], list(kept.values())))
        return [
            generation_comparison.chart_beside_paper(
                table, "CPU time", "relative", "CPU per byte by generation", "10", "total", side="total"),
            Chart("sides", "CPU per byte, hosts and guests", "generation", "CPU seconds per 10^9 bytes", series,
                  kind="bars", log_y=True, note=_NOTE),
        ]  # fmt: skip

    @override
    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        found = generation_comparison.measured(table, "CPU time", side="total")
        return [
            generation_comparison.order_verdict(
                found, "10", "total", "each version takes less CPU per byte (paper: cycles/byte; here: s/GB)"
            ),
            generation_comparison.gain_verdict(found, 16, 16, "CPU per byte fell to a sixteenth", more=False),
        ]


def clock_hz() -> float | None:
    """The mean clock rate of the CPUs now; None if /proc/cpuinfo does not have it."""
    found = re.findall(r"^cpu MHz\s*: ([\d.]+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return 1e6 * sum(float(one) for one in found) / len(found) if found else None
