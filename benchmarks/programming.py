"""The cost of programming n VMs on h hosts in each programming model: flows, time, memory, bytes.

The paper compares 40,000 VMs on 10,000 hosts, preprogrammed and with Hoverboards (section 3.3.1). The switches are
recording sinks, and real Open vSwitch bridges where the machine has room for them. Both must agree on the number of
flows. The cost of a full mesh above the largest measured size is extrapolated by the square of the size, and marked as
extrapolated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from console.runs import need_root
from console.show import tables
from controllers.vmc.models import MODELS
from experiments.frame.progress import Progress
from experiments.programming.point import Point
from experiments.programming.point_process import run_point

MESH = "preprogrammed"
PAPER = (40_000, 10_000)  # VMs, hosts
LARGE = (100_000, 10_000)
_PER_HOST = 4  # VMs a host, in the comparison
_MESH_SIZES = (1000, 2000, 4000, 8000)
_LINE_SIZES = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_ON_BRIDGES = (400, 100)
_MORE = 200


def polynomial(sizes: Sequence[float], values: Sequence[float], degree: int) -> tuple[list[float], float]:
    """Least squares: coefficients, highest power first, and R squared."""
    fitted = np.polyfit(sizes, values, degree)
    residual = np.asarray(values) - np.polyval(fitted, sizes)
    spread = np.asarray(values) - np.mean(values)
    return [float(each) for each in fitted], float(1 - residual @ residual / (spread @ spread))


def quadratic(sizes: Sequence[float], values: Sequence[float], at: float) -> float:
    """The value at size `at`, extrapolated: the part above the smallest size's value grows by the square.

    This fit cannot exaggerate. A part that grows more slowly than the square is in the value that is subtracted first.
    """
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    smallest = min(range(len(sizes)), key=sizes.__getitem__)
    grown = (values[largest] - values[smallest]) / (sizes[largest] ** 2 - sizes[smallest] ** 2)
    return values[smallest] + grown * (at**2 - sizes[smallest] ** 2)


def measure(given: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """All points that the command line asks for."""
    if given.vms:
        hosts = given.hosts
        points = [
            Point(model, size, hosts or max(1, size // _PER_HOST)) for model in given.models for size in given.vms
        ]
        return {"points": _measured(points, progress)}
    both = [Point(model, *_ON_BRIDGES, switches=switches) for model in given.models for switches in ("sink", "ovs")]
    mesh = [Point(MESH, size, size // _PER_HOST) for size in _MESH_SIZES if size <= given.largest_mesh]
    line = [Point("hoverboard", size, size // 10, more=_MORE) for size in _LINE_SIZES]
    paper = [Point("hoverboard", *PAPER)]
    results = _measured([*both, *paper, *mesh, *line], progress)
    count = len(both)
    return {
        "agreement": results[:count],
        "paper": results[count],
        "mesh": results[count + 1 : count + 1 + len(mesh)],
        "line": results[count + 1 + len(mesh) :],
        "points": results,
    }


def _measured(points: Sequence[Point], progress: Progress) -> list[dict[str, Any]]:
    results = []
    for at, point in enumerate(points):
        progress(f"{point.model}: {point.vms} VMs on {point.hosts} hosts ({point.switches})", at / len(points))
        results.append(run_point(point))
    return results


def disagreements(points: Sequence[dict[str, Any]]) -> list[str]:
    """The points where sink and real switches have different numbers of flows."""
    found = []
    for one in points:
        for other in points:
            same = all(one[key] == other[key] for key in ("model", "vms", "hosts", "hoverboards"))
            if same and one["switches"] < other["switches"] and one["flows_by_class"] != other["flows_by_class"]:
                found.append(f"{one['model']}: {one['flows_by_class']} and {other['flows_by_class']}")
    return found


def mesh_at_paper(figures: dict[str, Any]) -> dict[str, float]:
    """Flows, seconds and MiB of the full mesh at the paper's size, extrapolated."""
    sizes = [point["vms"] for point in figures["mesh"]]
    of = {
        "flows": [point["flows"] for point in figures["mesh"]],
        "seconds": [point["seconds"]["all"] for point in figures["mesh"]],
        "mib": [point["peak_mib"] for point in figures["mesh"]],
    }
    return {name: quadratic(sizes, values, PAPER[0]) for name, values in of.items()}


def bars(figures: dict[str, Any]) -> list[Bar]:
    """The bars whose points were measured."""
    if "paper" not in figures:
        return []
    mesh, paper, line = mesh_at_paper(figures), figures["paper"], figures["line"]
    at = f"{PAPER[0]} VMs on {PAPER[1]} hosts, {MESH} (extrapolated) / hoverboard"
    fitted, r2 = polynomial([point["vms"] for point in line], [point["seconds"]["all"] for point in line], 1)
    more = {point["vms"]: point["one_more"]["median"] for point in line}
    large = line[-1]
    return [
        Bar("sink and Open vSwitch disagree", len(disagreements(figures["agreement"])), 0, "<=", "times"),
        Bar(f"{at}: flows", mesh["flows"] / paper["flows"], 100, ">=", "x"),
        Bar(f"{at}: time", mesh["seconds"] / paper["seconds"]["all"], 39, ">=", "x"),
        Bar(f"{at}: peak memory", mesh["mib"] / paper["peak_mib"], 20, ">=", "x"),
        Bar(f"{large['vms']} VMs, hoverboard: full update to all programmed", large["seconds"]["all"], 10, "<", "s"),
        Bar(f"{large['vms']} VMs, hoverboard: peak memory", large["peak_mib"], 1024, "<", "MiB"),
        Bar(f"{line[0]['vms']} to {large['vms']} VMs: R2 of a straight line", r2, 0.98, ">=", ""),
        Bar(
            f"one VM more: controller work at {large['vms']} / at {line[0]['vms']}",
            more[large["vms"]] / more[line[0]["vms"]], 1.5, "<=", "x",
        ),
    ]  # fmt: skip


def shown(figures: dict[str, Any]) -> list[Table]:
    """The results as tables, one line a point."""
    rows = [
        (
            point["model"], point["vms"], point["hosts"], point["switches"], point["flows"],
            point["flows_by_class"]["host"]["largest"], point["flows_by_class"]["hoverboard"]["largest"],
            f"{point['seconds']['all']:.2f}", f"{point['cpu_seconds']:.2f}", f"{point['peak_mib']:.0f}",
            f"{point['bytes'] / 1e6:.1f}" if "bytes" in point else "",
        )
        for point in figures["points"]
    ]  # fmt: skip
    columns = (
        "model", "#VMs", "#hosts", "switches", "#flows", "#most on a host", "#most on a Hoverboard", "#s",
        "#controller CPU s", "#peak MiB", "#MB to switches",
    )  # fmt: skip
    made = [tables.table("programming, from full update to all switches programmed", columns, rows)]
    if "paper" in figures:
        mesh = mesh_at_paper(figures)
        line = (f"{mesh['flows']:.3g}", f"{mesh['seconds']:.0f}", f"{mesh['mib'] / 1024:.0f}")
        title = f"{MESH}, {PAPER[0]} VMs on {PAPER[1]} hosts: by the square of the size, from what was measured"
        made.append(tables.table(title, ("#flows", "#s", "#GiB"), [line]))
    return made


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "--vms", type=int, nargs="+", metavar="N", help="only these sizes, in sinks, without bars (default: all bars)"
    )
    parser.add_argument(
        "--hosts", type=int, metavar="H", help=f"with --vms: hosts (default: a {_PER_HOST}th of the VMs)"
    )
    parser.add_argument(
        "--models", nargs="+", choices=sorted(MODELS), default=sorted(MODELS), help="programming models (default: all)"
    )
    parser.add_argument(
        "--largest-mesh", type=int, default=_MESH_SIZES[-1], metavar="N",
        help="largest full mesh to measure (%(default)s; 8000 takes two minutes and 9 GiB)",
    )  # fmt: skip
    given = parser.parse_args(argv)
    if given.hosts is not None and not given.vms:
        parser.error("--hosts goes with --vms")
    if any(number < 1 for number in given.vms or ()):
        parser.error("--vms must be above 0")
    command.above_zero(parser, given, "hosts")
    if given.largest_mesh < _MESH_SIZES[1]:
        parser.error(f"--largest-mesh must be at least {_MESH_SIZES[1]}: two sizes make a fit")
    return given


def main() -> int:
    """Run `python -m benchmarks.programming`."""
    given = options()

    def run(progress: Progress) -> int:
        if not given.vms:
            need_root("benchmark")
        figures = measure(given, progress)
        parameters = {"vms": given.vms, "hosts": given.hosts, "models": given.models}
        return report.finish(
            "programming", parameters, figures, bars(figures), shown(figures), as_json=given.json, out=given.out
        )

    return command.execute(run)


if __name__ == "__main__":
    sys.exit(main())
