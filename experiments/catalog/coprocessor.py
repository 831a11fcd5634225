"""One TCP stream through each coprocessor stage, and one without a stage (paper section 4.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from typing_extensions import override

from experiments.frame.experiment import Bench, Chart, ClaimVerdict, Experiment, Point, Sample, SampleTable, Series
from experiments.frame.parameters import Parameter, Values
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from topologies.run.testbed import Testbed

STAGES = ("none", "acl", "shaping", "encryption")
TOPOLOGY = Path(__file__).with_suffix(".yaml")
_PAPER = {"acl": 11.8, "shaping": 11.8, "encryption": 4.6}  # Gbit/s


class Coprocessor(Experiment):
    """The throughput of one TCP stream, by coprocessor stage."""

    name = "coprocessor"
    order = 130
    title = "What coprocessor stages cost"
    source = "section 4.4"
    measures = "one TCP stream between two hosts through no stage, ACLs, WAN shaping, encryption in software"
    minutes = 1.0
    parameters = (
        Parameter("stages", STAGES, "", "stages to measure", choices=STAGES),
        Parameter("seconds", 3, "s", "of each measurement", quick=1, least=1, most=60),
        Parameter("omit", 1, "s", "left out at its start", quick=0, least=0, most=10),
    )

    @override
    def points(self, values: Values) -> list[Point]:
        return [{"stage": stage} for stage in values["stages"]]

    @override
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        testbed, stage = bench.testbed(TOPOLOGY), point["stage"]
        address = next(str(vm.ip) for vm in testbed.topology.vms if vm.name == f"{stage}-there")
        before = _coprocessor_status(testbed, stage).get("cpu_seconds", 0.0)
        spec = IperfSpec(seconds=values["seconds"], omit=values["omit"])
        result = iperf.measure(testbed.node(stage), testbed.node(f"{stage}-there"), address, spec)
        status = _coprocessor_status(testbed, stage)
        bench.raw("iperf3", result.raw)
        bench.raw("coprocessor", status)
        yield Sample("throughput", result.bps / 1e9, "Gbit/s", point)
        if status:
            spent = status["cpu_seconds"] - before
            yield Sample(
                "sender's coprocessor", 100 * spent / (values["seconds"] + values["omit"]), "% of a CPU", point
            )

    @override
    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        here = table.line("throughput", "stage", "here")
        theirs = [stage for stage in here.x if stage in _PAPER]
        return [
            Chart("stages", "One TCP stream through coprocessor stages", "stage", "Gbit/s received", [
                here,
                Series("section 4.4", theirs, [_PAPER[stage] for stage in theirs], paper=True),
            ], kind="bars"),
        ]  # fmt: skip

    @override
    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        made = []
        for light in ("acl", "shaping"):
            claim = f"software encryption carries 0.39 of what {light} does"
            theirs = "4.6 / 11.8 Gbit/s = 0.39"
            slow, fast = table.median("throughput", stage="encryption"), table.median("throughput", stage=light)
            if slow is None or not fast:
                made.append(ClaimVerdict(claim, theirs, "", "not measured", "one of the two stages was not measured."))
                continue
            share = slow / fast
            made.append(
                ClaimVerdict(
                    claim, theirs, f"{slow:.2f} / {fast:.2f} Gbit/s = {share:.2f}",
                    "reproduced" if 0.2 <= share <= 0.6 else "partly" if share < 0.9 else "not",
                    "a stage is plain Python here, so its cost per packet is larger beside AES than in C++; both ends' "
                    "threads share two cores.",
                    share / 0.39,
                )
            )  # fmt: skip
        return made


def _coprocessor_status(testbed: Testbed, vm: str) -> dict[str, Any]:
    """The status of a VM's coprocessor thread; {} if the VM has none."""
    host = next(one.host for one in testbed.topology.vms if one.name == vm)
    with contextlib.closing(testbed.host_client(host)) as client:
        return dict(client.status()["vms"][vm]["coprocessor"] or {})
