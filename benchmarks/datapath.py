"""Packets VM to VM: generation `fastpath` beside generation `ovs` and beside the kernel's own overlay.

All three are up at once and take turns; ratios are medians over rounds. Bars: one TCP stream between
two hosts, offloaded, at least 8 times `ovs`; round trip of `ovs` at least 3 times as long.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.table import Table

from benchmarks import command, contestants, report
from benchmarks.bars import Bar
from benchmarks.contestants import Contestant, Where
from benchmarks.statistics import distribution, paired_ratio, turns
from console import tables
from console.runs import need_root
from experiments import iperf, ping
from experiments.iperf import IperfSpec
from hoverboard.contract.errors import MeasurementError

TCP_BAR = 8.0
ROUND_TRIP_BAR = 3.0
_PING_INTERVAL = 0.005


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure; `streams` of TCP, or pings when 0."""

    name: str
    where: Where
    streams: int

    @property
    def kind(self) -> Literal["tcp", "ping"]:
        return "tcp" if self.streams else "ping"


CASES = (
    Case("TCP, two hosts, 1 stream", "two hosts", 1),
    Case("TCP, two hosts, 16 streams", "two hosts", 16),
    Case("TCP, same host, 1 stream", "same host", 1),
    Case("round trip, two hosts", "two hosts", 0),
    Case("round trip, same host", "same host", 0),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: of each TCP case.
        ping_rounds: of each ping case; more, because they are short and one late wake-up spoils an average.
        seconds, omit: of each TCP measurement, and those left out at its start.
        pings: of which one round's average is taken.
    """

    rounds: int
    ping_rounds: int
    seconds: int
    omit: int
    pings: int

    def rounds_of(self, case: Case) -> int:
        """How often everybody has a turn at `case`."""
        return self.rounds if case.kind == "tcp" else self.ping_rounds


# Samples of a case by contestant, in the order of rounds; bit/s or ms.
Samples = dict[str, list[float]]


def measure(plan: Plan, progress: command.Progress) -> dict[str, Any]:
    """Bring everybody up, let them take turns, take everything down; {"cases": .., "contestants": ..}.

    Raises:
        HoverboardError: somebody does not come up, or a measurement gives no figure.
    """
    with contextlib.ExitStack() as stack:
        everybody: list[Contestant] = []
        for name, made in (
            ("fastpath", contestants.generation("fastpath")),
            ("ovs", contestants.generation("ovs")),
            ("kernel", contestants.kernel()),
        ):
            progress(f"bringing up {name}", 0.0)
            everybody.append(stack.enter_context(made))
        samples: dict[str, Samples] = {case.name: {one.name: [] for one in everybody} for case in CASES}
        relayed = {one.name: 0 for one in everybody}
        done, total = 0, len(everybody) * sum(plan.rounds_of(case) for case in CASES)
        for case in CASES:
            rounds = plan.rounds_of(case)
            for number, order in enumerate(turns(everybody, rounds), 1):
                for one in order:
                    progress(f"{case.name}: {one.name}, round {number} of {rounds}", done / total)
                    value, strays = _turn(one, case, plan)
                    samples[case.name][one.name].append(value)
                    relayed[one.name] += strays
                    done += 1
        facts = {one.name: {**one.facts, "relayed_packets": relayed[one.name]} for one in everybody}
        progress("taking everything down", 1.0)
    return {"cases": _cases(samples), "contestants": facts}


def _turn(one: Contestant, case: Case, plan: Plan) -> tuple[float, int]:
    """One measurement, bit/s or ms; and how many packets a Hoverboard saw of it."""
    one.prepare(case.where)
    pair = one.pairs[case.where]
    before = one.relayed()
    if case.kind == "tcp":
        spec = IperfSpec(seconds=plan.seconds, streams=case.streams, omit=plan.omit)
        value = iperf.measure(pair.source, pair.target, pair.address, spec).bps
    else:
        ping.measure(pair.source, pair.address, count=10, interval=_PING_INTERVAL)
        result = ping.measure(pair.source, pair.address, count=plan.pings, interval=_PING_INTERVAL)
        if result.avg_ms is None or result.loss_percent > 1:
            raise MeasurementError(
                f"{one.name}: {result.received} of {result.sent} pings were answered",
                where=pair.source.name,
                next_step="bring two-hosts up, and ping between its VMs",
            )
        value = result.avg_ms
    return value, one.relayed() - before


def _cases(samples: dict[str, Samples]) -> list[dict[str, Any]]:
    """Distributions and ratios; a ratio above 1 always says that the fast path is better."""
    made = []
    for case in CASES:
        by_name = samples[case.name]
        fast = by_name["fastpath"]
        ratios = {
            name: paired_ratio(fast, other) if case.kind == "tcp" else paired_ratio(other, fast)
            for name, other in by_name.items()
            if name != "fastpath"
        }
        made.append(
            {
                "case": case.name,
                "unit": "bit/s" if case.kind == "tcp" else "ms",
                "samples": by_name,
                "summary": {name: distribution(values).as_dict() for name, values in by_name.items()},
                "fastpath_better_by": ratios,
            }
        )
    return made


def bars(cases: list[dict[str, Any]]) -> list[Bar]:
    """The two bars on the ratios of `cases`."""
    ratios = {case["case"]: case["fastpath_better_by"] for case in cases}
    return [
        Bar(f"{CASES[0].name}: fastpath over ovs", ratios[CASES[0].name]["ovs"], TCP_BAR, ">=", "x"),
        Bar(f"{CASES[3].name}: ovs over fastpath", ratios[CASES[3].name]["ovs"], ROUND_TRIP_BAR, ">=", "x"),
    ]


def table(cases: list[dict[str, Any]]) -> Table:
    """Medians, with the smallest and largest round in brackets."""

    def cell(case: dict[str, Any], name: str) -> str:
        one = case["summary"][name]
        scale, form = (1e9, ".2f") if case["unit"] == "bit/s" else (1.0, ".3f")
        low, middle, high = (format(one[key] / scale, form) for key in ("minimum", "median", "maximum"))
        return f"{middle} ({low} .. {high})"

    names = ("fastpath", "ovs", "kernel")
    return tables.table(
        "VM to VM: Gbit/s or ms, median (least .. most) of the rounds",
        ("", *(f"#{name}" for name in names), "#better than ovs", "#than kernel"),
        (
            (
                f"{case['case']}, {'Gbit/s' if case['unit'] == 'bit/s' else 'ms'}",
                *(cell(case, name) for name in names),
                tables.times(case["fastpath_better_by"]["ovs"]),
                f"{case['fastpath_better_by']['kernel']:.2f} x",
            )
            for case in cases
        ),
    )


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s, for a first look")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds of TCP (5); three times as many of pings")
    parser.add_argument("--seconds", type=int, metavar="S", help="seconds of each TCP measurement (4)")
    return parser.parse_args(argv)


def main() -> int:
    """`python -m benchmarks.datapath`"""
    given = options()
    rounds = given.repeat or (3 if given.quick else 5)
    plan = Plan(
        rounds=rounds,
        ping_rounds=3 * rounds,
        seconds=given.seconds or (1 if given.quick else 4),
        omit=1,
        pings=200,
    )

    def run(progress: command.Progress) -> int:
        need_root("benchmark")
        figures = measure(plan, progress)
        parameters = {**asdict(plan), "ping_interval_s": _PING_INTERVAL}
        cases = figures["cases"]
        return report.finish(
            "datapath", parameters, figures, bars(cases), [table(cases)], as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
