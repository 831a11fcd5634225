"""A rack of 20 hosts with 100 VMs: the time to start it, its memory, its CPU time when idle.

A separate process holds the rack, as with `hoverboard up --detach`. So memory and CPU are those of the testbed and not
of the benchmark.

Bars: up in under 15 s, under 4 GiB, idle under 5 % of one core.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from typing import Any

from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.harness.statistics import distribution
from console.runs import need_root
from console.show import tables
from experiments.frame.progress import Progress
from experiments.observe import run_cost
from experiments.observe.run_cost import Share
from topologies.client import run_client
from topologies.processes.phases import PHASES

UP_BAR = 15.0  # seconds
MEMORY_BAR = 4.0  # GiB
IDLE_BAR = 5.0  # % of one core

_SETTLE_SECONDS = 5.0  # for the rest of the start: reports, revalidation of the first pings' entries
_IDLE_WINDOWS = 3


def measure(topology: str, rounds: int, idle_seconds: float, progress: Progress) -> dict[str, Any]:
    """Bring the rack up and down `rounds` times, and measure the last one while it is idle.

    Raises:
        HoverboardError: the rack does not come up.
    """
    seconds: list[float] = []
    phases: list[dict[str, float]] = []
    figures: dict[str, Any] = {}
    for number in range(1, rounds + 1):
        run = command.run_name("rack")
        progress(f"starting {topology}, {number} of {rounds}", (number - 1) / (rounds + 1))
        begun = time.monotonic()
        try:
            ready = run_client.start_detached(topology, run=run)
            seconds.append(time.monotonic() - begun)
            phases.append(ready["phases"])
            if number == rounds:
                progress(f"watching it idle, {_IDLE_WINDOWS} times {idle_seconds:g} s", rounds / (rounds + 1))
                figures = _idle(run, idle_seconds)
            progress(f"ending {topology}, {number} of {rounds}", number / (rounds + 1))
            begun = time.monotonic()
        finally:
            run_client.down(run, missing_ok=True)
        figures["down_seconds"] = round(time.monotonic() - begun, 3)
    return {
        "topology": topology,
        "up_seconds": {"samples": [round(value, 3) for value in seconds], **distribution(seconds).as_dict()},
        "phases": phases,
        **figures,
    }


def _idle(run: str, seconds: float) -> dict[str, Any]:
    """Memory, and CPU over some windows of `seconds` each; by kind of process, in the median window."""
    passing = threading.Event()  # never set: wait() only lets time pass
    passing.wait(_SETTLE_SECONDS)
    found = run_cost.run_processes(run)
    before, begun = run_cost.shares(found), time.monotonic()
    windows: list[dict[str, float]] = []
    for _ in range(_IDLE_WINDOWS):
        passing.wait(seconds)
        # Reading takes time itself, but each reading reads the processes in the same order.
        after, now = run_cost.shares(found), time.monotonic()
        windows.append(run_cost.cpu_percent(before, after, now - begun))
        before, begun = after, now
    totals = [sum(window.values()) for window in windows]
    middle = windows[totals.index(statistics.median_low(totals))]
    return {"by_kind": _by_kind(before, middle), "idle_seconds": seconds, "idle_cpu_percent": totals}


def _by_kind(costs: dict[str, Share], cpu: dict[str, float]) -> list[dict[str, Any]]:
    """Rows by kind of process, the largest first."""
    rows = [
        {"what": what, "processes": share.processes, "pss_bytes": share.pss_bytes, "idle_cpu_percent": cpu.get(what, 0)}
        for what, share in costs.items()
    ]
    return sorted(rows, key=lambda row: -int(row["pss_bytes"]))


def bars(figures: dict[str, Any]) -> list[Bar]:
    """Time (median of rounds), memory, and idle CPU (median of windows)."""
    memory = sum(row["pss_bytes"] for row in figures["by_kind"]) / 2**30
    cpu = sum(row["idle_cpu_percent"] for row in figures["by_kind"])
    name = figures["topology"]
    return [
        Bar(f"{name}: up, programmed and pingable", figures["up_seconds"]["median"], UP_BAR, "<", "s"),
        Bar(f"{name}: memory of all its processes", memory, MEMORY_BAR, "<", "GiB"),
        Bar(f"{name}: CPU when idle", cpu, IDLE_BAR, "<", "% of a core"),
    ]


def shown(figures: dict[str, Any]) -> list[Table]:
    """Seconds by phase; memory and CPU by kind of process."""
    last = figures["phases"][-1]
    rows = [*((name, f"{last[name]:.2f}") for name in PHASES), ("all, from the command on", f"{_last_up(figures):.2f}")]
    return [
        tables.table("seconds by phase of the last start (phases may overlap)", ("phase", "#seconds"), rows),
        tables.table(
            f"what it costs, idle, over {figures['idle_seconds']:g} s (median of {len(figures['idle_cpu_percent'])})",
            ("process", "#number", "#MiB (PSS)", "#% of a core"),
            (
                (row["what"], row["processes"], f"{row['pss_bytes'] / 2**20:.1f}", f"{row['idle_cpu_percent']:.2f}")
                for row in figures["by_kind"]
            ),
        ),
    ]


def _last_up(figures: dict[str, Any]) -> float:
    return float(figures["up_seconds"]["samples"][-1])


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--topology", default="rack", metavar="FILE", help="a file, or a shipped one (%(default)s)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="starts (%(default)s)")
    parser.add_argument("--idle", type=float, default=10.0, metavar="S", help="seconds of an idle window (%(default)s)")
    given = parser.parse_args(argv)
    command.above_zero(parser, given, "repeat", "idle")
    return given


def main() -> int:
    """Run `python -m benchmarks.startup`."""
    given = options()

    def run(progress: Progress) -> int:
        need_root("benchmark")
        figures = measure(given.topology, given.repeat, given.idle, progress)
        parameters = {"topology": given.topology, "starts": given.repeat, "settle_s": _SETTLE_SECONDS}
        return report.finish(
            "startup", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
