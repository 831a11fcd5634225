"""Writes the results of a demonstration: raw data, CSV, figures, summary.json and report.html.

The report is one file that needs no other: figures are inlined as SVG. It is made from the results alone.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import figures
from experiments.demo import picture
from experiments.demo.demo_results import DemoResult, Generation
from experiments.observe import provenance
from hoverboard.safe_files import RefusedPlaceError, make_folder, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoverboard.contract.experiment_documents import Demo, DemoGeneration

_CSV_HEAD = ("generation", "quantity", "condition", "unit", "value")


def default_folder() -> Path:
    """results/demo-DATE-TIME below the current directory."""
    return Path("results") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"


def write(result: DemoResult, folder: Path) -> Demo:
    """Write all files into `folder`, which is made if it is missing; return the document of summary.json."""
    summary = summarise(result)
    write_files(result, summary, folder)
    return summary


def summarise(result: DemoResult) -> Demo:
    """The document of summary.json."""
    return result.summary(provenance.record(result.parameters))


def keep_raw(generation: Generation, folder: Path) -> None:
    """Write the raw data of a generation when it is measured; a later failure does not lose them.

    A file that cannot be written is left out: `write_files` tries again, and tells the reason.
    """
    with contextlib.suppress(OSError, RefusedPlaceError):
        _write_raw(generation, folder / "raw")


def write_files(result: DemoResult, summary: Demo, folder: Path) -> None:
    """Write all files into `folder`; the smallest with all figures first.

    Raises:
        InputError: the folder belongs to another user.
        OSError: a file cannot be written.
    """
    make_folder(folder)
    write_file(folder, "summary.json", json.dumps(summary, indent=2) + "\n")
    for generation in result.generations:
        _write_raw(generation, folder / "raw")
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(_CSV_HEAD)
    rows.writerows(result.csv_rows())
    write_file(folder, "demo.csv", text.getvalue())
    drawn = picture.draw(result.topology, _pair(result))
    write_file(folder / "figures", "topology.svg", drawn)
    inline: dict[str, str] = {"topology": drawn}
    with figures.style():
        for name, figure in _figures(result).items():
            figures.write(figure, folder / "figures" / name)
            inline[name] = figures.inline_svg(figure, name)
    write_file(folder, "report.html", _page(summary, inline, result))


def _pair(result: DemoResult) -> tuple[str, str]:
    src, dst = result.parameters["pair"]
    return src, dst


def _write_raw(generation: Generation, folder: Path) -> None:
    stem = f"{generation.dataplane}"
    for item in generation.throughput:
        _write_json(folder, f"{stem}-iperf3-{item.streams}-streams.json", item.result.raw)
    if generation.timeline.iperf is not None:
        _write_json(folder, f"{stem}-iperf3-followed-flow.json", generation.timeline.iperf.raw)
    write_file(folder, f"{stem}-ping-direct.txt", generation.latency_direct.text)
    write_file(folder, f"{stem}-ping-hoverboard.txt", generation.latency_hoverboard.text)


def _write_json(folder: Path, name: str, document: Any) -> None:
    write_file(folder, name, json.dumps(document, indent=1) + "\n")


def _figures(result: DemoResult) -> dict[str, Figure]:
    made = {
        f"path-{item.dataplane}": figures.flow_path(
            item.timeline, title=f"{_pair(result)[0]} to {_pair(result)[1]}, dataplane {item.dataplane}"
        )
        for item in result.generations
    }
    made["throughput"] = figures.throughput(
        {item.dataplane: {one.streams: one.result.bps for one in item.throughput} for item in result.generations}
    )
    made["latency"] = figures.latency(
        {
            f"{item.dataplane}, {path}": ping.samples
            for item in result.generations
            for path, ping in (("direct", item.latency_direct), ("over the Hoverboard", item.latency_hoverboard))
        }
    )
    return made


def _page(summary: Demo, inline: dict[str, str], result: DemoResult) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("experiments"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["gbits"] = lambda bps: f"{bps / 1e9:.2f}"
    environment.filters["microseconds"] = lambda ms: "-" if ms is None else f"{ms * 1000:.0f}"
    environment.filters["times"] = lambda ratio: "-" if ratio is None else f"{ratio:.1f} ×"
    environment.filters["megabytes"] = lambda size: f"{size / 1e6:.1f}"
    return environment.get_template("demo.html.j2").render(
        s=summary,
        figures=inline,
        matrices=[_matrix(generation) for generation in summary["generations"]],
    )


def _matrix(generation: DemoGeneration) -> dict[str, Any]:
    """The ping matrix by network, with rows and columns by VM name."""
    networks: dict[str, dict[str, Any]] = {}
    for cell in generation["ping_matrix"]:
        network = networks.setdefault(cell["network"], {"vms": [], "cells": {}})
        if cell["src"] not in network["vms"]:
            network["vms"].append(cell["src"])
        network["cells"][(cell["src"], cell["dst"])] = cell
    return networks
