"""Packets from VM to VM: generation `fastpath` beside generation `ovs` and beside the kernel's own overlay.

All contestants are up at the same time and take turns; ratios are medians over rounds. `cases` lists the measurements,
`bars` their limits.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

from benchmarks.datapath import bars, contestants
from benchmarks.datapath.cases import AWAKE_CASES, CASES, PING_INTERVAL, Case, Plan, Sample
from benchmarks.datapath.contestants import Contestant
from benchmarks.harness import command, report
from benchmarks.harness.statistics import turns
from console.runs import need_root
from experiments.frame.progress import Progress
from experiments.tools.no_cpu_idle import keep_cpus_awake
from hoverboard.contract.entities import Scheduling

_LONGEST_TURN = 120.0  # seconds after which a spinner ends by itself


def measure(
    cases: Sequence[Case], plan: Plan, progress: Progress, scheduling: Scheduling = "adaptive"
) -> dict[str, Any]:
    """Bring all contestants up, measure them in turns, and take them down; returns {"cases": .., "contestants": ..}.

    Raises:
        HoverboardError: a contestant does not come up, or a measurement gives no figure.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.between))
    with contextlib.ExitStack() as stack:
        running: dict[str, Contestant] = {}
        for name in names:
            progress(f"bringing up {name}", 0.0)
            running[name] = stack.enter_context(contestants.all_contestants(scheduling)[name]())
        relayed = dict.fromkeys(names, 0)
        found: list[dict[str, Any]] = []
        done, total = 0, sum(len(case.between) * case.rounds(plan) for case in cases)
        for case in cases:
            samples: dict[str, list[Sample]] = {name: [] for name in case.between}
            rounds = case.rounds(plan)
            for number, order in enumerate(turns(case.between, rounds), 1):
                for name in order:
                    progress(f"{case.name}: {name}, round {number} of {rounds}", done / total)
                    sample, strays = _turn(running[name], case, plan)
                    samples[name].append(sample)
                    relayed[name] += strays
                    done += 1
            found.append(bars.summary(case, samples))
        facts = {name: {**one.facts, "relayed_packets": relayed[name]} for name, one in running.items()}
        progress("taking everything down", 1.0)
    return {"cases": found, "contestants": facts}


def _turn(one: Contestant, case: Case, plan: Plan) -> tuple[Sample, int]:
    """One measurement, and the number of its packets that a Hoverboard relayed."""
    one.prepare(case.where)
    before = one.relayed()
    with keep_cpus_awake(_LONGEST_TURN) if case.awake else contextlib.nullcontext():
        sample = case.measure(one, case, plan)
    return sample, one.relayed() - before


def chosen(given: argparse.Namespace) -> list[Case]:
    """The cases that the command line asks for, in the table's order."""
    cases = [*CASES, *(AWAKE_CASES if given.awake else ())]
    return [case for case in cases if not given.only or any(part in case.name for part in given.only)]


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s, for a first look")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds (5); three times as many of latencies")
    parser.add_argument("--seconds", type=int, metavar="S", help="seconds of each measurement of a rate (4)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="cases with PART in their name; may be repeated"
    )
    parser.add_argument(
        "--awake", action="store_true", help="measure latencies, too, while the CPUs are kept from halting"
    )
    parser.add_argument(
        "--scheduling", choices=get_args(Scheduling), default="adaptive", help="of the fast path's engines (adaptive)"
    )
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "repeat", "seconds")
    if not chosen(given):
        parser.error("--only fits no case; there are: " + "; ".join(case.name for case in (*CASES, *AWAKE_CASES)))
    return given


def planned(given: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    rounds = given.repeat or (3 if given.quick else 5)
    return Plan(
        rounds=rounds,
        latency_rounds=3 * rounds,
        seconds=given.seconds or (1 if given.quick else 4),
        omit=1,
        pings=200,
        round_trip_seconds=0.5 if given.quick else 1.0,
    )


def main() -> int:
    """Run `python -m benchmarks.datapath`."""
    given = options()
    plan = planned(given)

    def run(progress: Progress) -> int:
        need_root("benchmark")
        figures = measure(chosen(given), plan, progress, given.scheduling)
        parameters = {**asdict(plan), "ping_interval_s": PING_INTERVAL, "scheduling": given.scheduling}
        cases = figures["cases"]
        return report.finish(
            "datapath", parameters, figures, bars.bars(cases), [bars.table(cases)],
            as_json=given.json, out=given.out,
        )  # fmt: skip

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
