"""The end of each benchmark: a results file, tables for people or JSON for scripts, the exit code."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness.bars import Bar
from console.show import tables
from experiments.frame import results_place
from experiments.observe import provenance
from hoverboard.contract.errors import MachineError
from hoverboard.safe_files import write_file


def bars_table(bars: Iterable[Bar]) -> Table:
    """The bars, one line each."""
    return tables.table(
        "bars",
        ("", "what", "#measured", "#bar"),
        (
            (
                "passed" if bar.passed else "MISSED",
                bar.what,
                f"{bar.value:.2f} {bar.unit}",
                f"{bar.sense} {bar.limit:g} {bar.unit}",
            )
            for bar in bars
        ),
    )


def finish(
    name: str,
    parameters: dict[str, Any],
    figures: dict[str, Any],
    bars: Sequence[Bar],
    shown: Sequence[Table],
    *,
    as_json: bool,
    out: Path | None,
) -> int:
    """Write and print the results; returns the exit code: 1 when a bar is missed.

    Args:
        name: name of the benchmark; its command is `python -m benchmarks.NAME`.
        parameters: the parameters of the benchmark, for the results file.
        figures: all results, for the results file.
        bars: the bars, with the measured values.
        shown: tables to print.
        as_json: print the results file instead of tables.
        out: the results file; default results/benchmark-NAME-DATE.json.
    """
    now = datetime.now(UTC)
    path = out or Path("results") / f"benchmark-{name}-{now:%Y%m%d-%H%M%S}.json"
    document: dict[str, Any] = {
        "benchmark": name,
        **provenance.record(parameters),
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "figures": figures,
        "bars": [bar.as_dict() for bar in bars],
        "passed": all(bar.passed for bar in bars),
    }
    text = json.dumps(document, indent=2)
    try:
        with results_place.writing(path, lambda: "the results are on stdout; save them, or make room"):
            write_file(path.parent, path.name, text + "\n")
    except MachineError:
        print(text)  # what was measured stays
        raise
    if as_json:
        print(text)
    else:
        tables.show([*shown, bars_table(bars)])
        machine = document["machine"]
        print(f"{machine['cpu']}, {machine['cores']} cores, kernel {machine['kernel']}; results: {path}")
    return 0 if document["passed"] else 1
