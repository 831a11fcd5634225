"""One TCP stream between two hosts, through no stage and through each of three, in turns (paper section 4.4).

The paper measures 11.8 Gbit/s without a stage and 4.6 Gbit/s through a software encryption thread. This benchmark has
no bar. A VM has one coprocessor thread, and encryption needs one at each end.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import command, report
from benchmarks.harness.statistics import turns
from console.runs import need_root
from console.show import tables
from experiments import catalog
from experiments.frame.progress import Progress
from experiments.tools import iperf
from experiments.tools.iperf import IperfSpec
from topologies.run.testbed import Testbed

STAGES = ("none", "acl", "shaping", "encryption")
_TOPOLOGY = Path(catalog.__file__).with_name("coprocessor.yaml")


def _worker(testbed: Testbed, vm: str) -> dict[str, Any]:
    host = next(one.host for one in testbed.topology.vms if one.name == vm)
    client = testbed.host_client(host)
    try:
        return dict(client.status()["vms"][vm]["coprocessor"] or {})
    finally:
        client.close()


def measure(seconds: int, rounds: int, progress: Progress) -> dict[str, Any]:
    """Figures by stage.

    Returns:
        {stage: {bps: median, samples, ratio: to none, coprocessor_cpu_share, packets, drops, drops_there}}

    Raises:
        HoverboardError: the testbed does not come up, or a stream fails.
    """
    samples: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with Testbed(_TOPOLOGY, run=command.run_name("coprocessor")) as testbed:
        address = {vm.name: str(vm.ip) for vm in testbed.topology.vms}
        done, total = 0, rounds * len(STAGES)
        for number, order in enumerate(turns(STAGES, rounds), 1):
            for stage in order:
                progress(f"{stage}, round {number} of {rounds}", done / total)
                ends = testbed.node(stage), testbed.node(f"{stage}-there")
                spec = IperfSpec(seconds=seconds, omit=1)
                samples[stage].append(float(iperf.measure(*ends, address[f"{stage}-there"], spec).bps))
                done += 1
        found: dict[str, Any] = {}
        for stage in STAGES:
            ratios = [one / off for one, off in zip(samples[stage], samples["none"], strict=True)]
            status = _worker(testbed, stage)
            found[stage] = {
                "bps": median(samples[stage]),
                "samples": samples[stage],
                "ratio": median(ratios),
                "coprocessor_cpu_share": status["cpu_seconds"] / (rounds * (seconds + 1)) if status else 0.0,
                "packets": status.get("packets", 0),
                "drops": status.get("drops", {}),
                "drops_there": _worker(testbed, f"{stage}-there").get("drops", {}),
            }
    return found


def main(argv: list[str] | None = None) -> int:
    """Run `python -m benchmarks.coprocessor`."""
    parser = command.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=4, metavar="S", help="seconds of each measurement (4)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (5)")
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "seconds", "repeat")

    def run(progress: Progress) -> int:
        need_root("the benchmark")
        found = measure(given.seconds, given.repeat, progress)
        shown = tables.table(
            "one TCP stream, two hosts",
            ("stage", "#rate", "#to none", "#of a thread", "drops"),
            (
                (
                    stage, tables.rate(one["bps"]), f"{one['ratio']:.2f}", f"{one['coprocessor_cpu_share']:.0%}",
                    ", ".join(f"{reason} {count}" for reason, count in one["drops"].items()) or "-",
                )
                for stage, one in found.items()
            ),
        )  # fmt: skip
        parameters = {"seconds": given.seconds, "rounds": given.repeat}
        return report.finish("coprocessor", parameters, found, [], [shown], as_json=given.json, out=given.out)

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
