"""`python -m benchmarks.ports`: compares kinds of ports, which take turns; shows medians of the rounds.

Sections:

- virtual NIC: two VMs, one forwarder
- uplink: two forwarders and the fabric's bridge
- sleep, sleep with two hosts, halting, waiting, settings: variants of the tap
- calls: system calls alone

There are no bars: the results help to choose a kind.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.statistics import distribution, paired_ratio, turns
from benchmarks.ports import kinds, syscost, tap, traffic
from benchmarks.ports.rig import Rig, cores_awake
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from hoverboard.contract.errors import HoverboardError, MeasurementError

CALLS = "calls"
# Measured value: (heading, digits)
COLUMNS = {
    "tcp_gbps": ("TCP Gbit/s", 2),
    "tcp_cpu": ("cores", 2),
    "udp_kpps": ("UDP kpps", 0),
    "udp_frame_ns": ("CPU ns a frame", 0),
    "trip_us": ("round trip us", 1),
    "trip_p90_us": ("p90", 1),
}

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a measurement: rounds of each section, and the seconds of each measurement."""

    rounds: int
    seconds: float


class Meter:
    """CPU time and frames of a rig's forwarders between its first call and its last."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._marks: list[tuple[float, int]] = []

    def __call__(self) -> None:
        """Read CPU time and frames now."""
        self._marks.append((self._rig.cpu_seconds(), self._rig.counted(tap.FRAMES)))

    @property
    def cpu(self) -> float:
        """CPU time in seconds."""
        return self._marks[-1][0] - self._marks[0][0]

    @property
    def frames(self) -> int:
        """The number of frames."""
        return self._marks[-1][1] - self._marks[0][1]


def turn(rig: Rig, plan: Plan) -> Figures:
    """One turn of one kind: every value of COLUMNS."""
    with cores_awake() if rig.awake else contextlib.nullcontext():
        return _turn(rig, plan)


def _turn(rig: Rig, plan: Plan) -> Figures:
    place = rig.source, rig.target, rig.address
    trip, trip_p90 = traffic.trips(*place, plan.seconds, lambda: None)
    delivered, _ = traffic.udp(*place, plan.seconds, flood := Meter(rig))
    stream = traffic.tcp(*place, plan.seconds, bulk := Meter(rig))
    return {
        "tcp_gbps": stream,
        "tcp_cpu": bulk.cpu / plan.seconds,
        "udp_kpps": delivered / 1000,
        "udp_frame_ns": flood.cpu / flood.frames * 1e9 if flood.frames else 0.0,
        "trip_us": trip,
        "trip_p90_us": trip_p90,
    }


def measure(section: str, plan: Plan, progress: Progress) -> dict[str, Any]:
    """One section: its kinds, the samples of each, and the kinds that could not be made, with the reason."""
    with contextlib.ExitStack() as stack:
        rigs: dict[str, Rig] = {}
        absent: dict[str, str] = {}
        for name, kind in kinds.SECTIONS[section].items():
            progress(f"{section}: {name}", 0.0)
            try:
                rigs[name] = stack.enter_context(kind())
            except HoverboardError as error:
                absent[name] = str(error)
        samples: dict[str, list[Figures]] = {name: [] for name in rigs}
        for name, rig in rigs.items():  # compiles, and fills every cache
            progress(f"{section}: first look at {name}", 0.0)
            with contextlib.suppress(MeasurementError):  # too short for the compiler
                turn(rig, Plan(1, 0.2))
        order = turns(list(rigs), plan.rounds)
        for number, names in enumerate(order, 1):
            for place, name in enumerate(names):
                progress(
                    f"{section}: {name}, round {number} of {plan.rounds}",
                    (number - 1 + place / len(names)) / plan.rounds,
                )
                samples[name].append(turn(rigs[name], plan))
        return summary(samples) | {"absent": absent}


def summary(samples: dict[str, list[Figures]]) -> dict[str, Any]:
    """Distributions by kind and value, and each kind's ratio to the section's first kind."""
    peer = next(iter(samples))
    rows = {}
    for name, rounds in samples.items():
        values = {key: [one[key] for one in rounds] for key in COLUMNS}
        against = {
            key: paired_ratio(values[key], [one[key] for one in samples[peer]])
            for key in ("tcp_gbps", "udp_kpps", "trip_us")
        }
        rows[name] = {
            "samples": values,
            "summary": {key: distribution(found).as_dict() for key, found in values.items()},
            "to_peer": against,
        }
    return {"peer": peer, "kinds": rows}


def table(section: str, figures: dict[str, Any]) -> Table:
    """A section's medians; ratios to the peer in brackets."""

    def cells(row: dict[str, Any]) -> list[str]:
        made = []
        for key, (_, digits) in COLUMNS.items():
            value = f"{row['summary'][key]['median']:.{digits}f}"
            made.append(f"{value} ({row['to_peer'][key]:.2f})" if key in row["to_peer"] else value)
        return made

    return tables.table(
        f"{section}: medians (of {figures['peer']})",
        ("", *(f"#{heading}" for heading, _ in COLUMNS.values())),
        ((name, *cells(row)) for name, row in figures["kinds"].items()),
    )


def calls_table(figures: Figures) -> Table:
    """System calls, nanoseconds each."""
    return tables.table("system calls", ("", "#ns"), ((name, f"{value:.0f}") for name, value in figures.items()))


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.2 s, for a first look")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each section (5)")
    parser.add_argument("--seconds", type=float, metavar="S", help="seconds of each measurement (0.5)")
    parser.add_argument(
        "--section", action="append", choices=[*kinds.SECTIONS, CALLS], help="only this one; may be repeated"
    )
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "rounds", "seconds")
    return given


def main() -> int:
    """Run `python -m benchmarks.ports`."""
    given = options()
    plan = Plan(given.rounds or (3 if given.quick else 5), given.seconds or (0.2 if given.quick else 0.5))

    def run(progress: Progress) -> int:
        need_root("benchmark")
        figures: dict[str, Any] = {}
        shown = []
        for section in given.section or [*kinds.SECTIONS, CALLS]:
            if section == CALLS:
                progress("system calls", 0.0)
                figures[section] = syscost.measure(plan.rounds)
                shown.append(calls_table(figures[section]))
            else:
                figures[section] = measure(section, plan, progress)
                shown.append(table(section, figures[section]))
        return report.finish("ports", asdict(plan), figures, [], shown, as_json=given.json, out=given.out)

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
