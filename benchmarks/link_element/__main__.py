"""The link element between two taps: how exact its delays are, what a Gbit/s costs, what it loses.

- quiet: packets one at a time through a delay of 10 ms, by the clock of one process.
- load: frames of 1,450 bytes at 1 Gbit/s, and frames of 64,000 bytes as the fast path sends whole segments.
- chance: 100,000 packets with a loss of 1 %, twice with one seed, then with jitter.
- places: links in threads of one process, or in a process each; memory and CPU time.

Contestants take turns. The devices are in a namespace of their own.
"""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness import command, report
from benchmarks.harness.statistics import distribution, turns
from benchmarks.link_element.link_bars import DELAY, LOSS, bars
from benchmarks.link_element.link_places import placed
from benchmarks.link_element.link_rig import Rig, numbers, one_way, rigs, under_load
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.link.link_thread import load

FRAMES = {"1,450-byte frames": 1450, "64,000-byte segments": 64_000}
PACKETS = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement: packets when quiet, rounds and seconds of a load, packets with loss, links."""

    quiet: int
    rounds: int
    seconds: float
    packets: int
    links: int


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """All figures."""
    load()
    figures: dict[str, Any] = {"load": {what: [] for what in FRAMES}, "places": {"threads": [], "processes": []}}
    with rigs(1) as (rig,):
        progress("delay when quiet", 0.0)
        for name, properties in (("delayed", LinkProperties(delay=DELAY)), ("plain", LinkProperties())):
            link = rig.link(properties)
            try:
                one_way(rig, 20, 0.001)
                figures[name] = one_way(rig, plan.quiet, 0.002)
            finally:
                link.close()
        for number, order in enumerate(turns(list(FRAMES), plan.rounds)):
            progress(f"load, round {number + 1} of {plan.rounds}", 0.3 + 0.3 * number / plan.rounds)
            for what in order:
                figures["load"][what].append(under_load(rig, FRAMES[what], plan.seconds))
        progress("loss and order", 0.6)
        figures["chance"] = chance(rig, plan.packets)
    with rigs(plan.links) as several:
        for number, order in enumerate(turns(["threads", "processes"], plan.rounds)):
            progress(f"places, round {number + 1} of {plan.rounds}", 0.8 + 0.2 * number / plan.rounds)
            for where in order:
                found = placed(several, threads=where == "threads", seconds=plan.seconds)
                figures["places"][where].append(found)
    return figures


def chance(rig: Rig, count: int) -> dict[str, Any]:
    """Lost packets of `count`; whether the same seed loses the same ones; packets out of order with jitter."""
    link = rig.link(LinkProperties(loss=LOSS, seed=7))
    try:
        first = numbers(rig, count)
        link.set_properties(LinkProperties(loss=LOSS, seed=7))
        second = numbers(rig, count)
        link.set_properties(LinkProperties(delay=0.002, jitter=0.002, seed=7))
        jittered = numbers(rig, count // 10)
        counters = link.counters()[0]
    finally:
        link.close()
    return {
        "packets": count, "lost": count - len(first), "same": first == second, "counters": counters,
        "disordered": sum(one > other for one, other in zip(jittered, jittered[1:], strict=False)),
        "jittered_lost": count // 10 - len(jittered),
    }  # fmt: skip


def main() -> int:
    """Run `python -m benchmarks.link_element`."""
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look: fewer rounds and packets")
    given = parser.parse_args()
    plan = Plan(200, 1, 1.0, 20_000, 4) if given.quick else Plan(1000, 5, 4.0, PACKETS, 8)

    def run(progress: Progress) -> int:
        need_root("the benchmark")
        # Other work on the machine, and our own wait for a CPU, are not what is measured.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
        figures = measure(plan, progress)
        rows = []
        for name in ("delayed", "plain"):
            one = distribution(figures[name])
            rows.append((name, *(f"{value * 1e3:.3f}" for value in (one.minimum, one.median, one.p99, one.maximum))))
        shown = [tables.table("one way, ms", ("link", "#least", "#median", "#p99", "#most"), rows)]
        rows = []
        for where, rounds in figures["places"].items():
            values = (statistics.median(one[key] for one in rounds) for key in ("mib", "cores", "gbps"))
            rows.append((f"{plan.links} links in {where}", *(f"{value:.2f}" for value in values)))
        shown.append(tables.table("places", ("", "#MiB (PSS)", "#cores", "#Gbit/s"), rows))
        return report.finish(
            "link_element", asdict(plan), figures, bars(figures), shown, as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
