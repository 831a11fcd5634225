"""The common part of the benchmarks' commands: options, progress on stderr, errors, a clean end on a signal."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from console import guard
from console.show.progress import StepProgress
from experiments.frame import results_place
from experiments.frame.progress import Progress
from hoverboard.contract.errors import HoverboardError


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    made.add_argument(
        "--out",
        type=_results_file,
        default="",
        metavar="FILE",
        help="results file; default results/benchmark-NAME-DATE.json",
    )
    return made


def _results_file(text: str) -> Path | None:
    """The file that --out names; None if there is no --out: then the default folder is looked at."""
    try:
        results_place.check_file(Path(text or "results/x"))
    except HoverboardError as error:
        raise argparse.ArgumentTypeError(f"{error.what}: {error.next_step}") from error
    return Path(text) if text else None


def above_zero(parser: argparse.ArgumentParser, given: argparse.Namespace, *names: str) -> None:
    """End the command with an error if one of these options is not above 0; None is allowed."""
    for name in names:
        value = getattr(given, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} must be above 0")


def run_name(word: str) -> str:
    """A name that no other run has."""
    return f"bench-{word}-{uuid.uuid4().hex[:6]}"


def execute(measure: Callable[[Progress], int]) -> int:
    """Run a benchmark; returns its exit code, the code of the error that ended it, or 130 when interrupted."""
    try:
        with guard.ended_by_signals(), StepProgress() as progress:
            return measure(progress)
    except HoverboardError as error:
        guard.print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
