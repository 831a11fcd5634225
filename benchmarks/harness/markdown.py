"""`python -m benchmarks.harness.markdown FILE...`: prints results files as Markdown, for the pages in `docs/`.

A page shows the contents of a results file, so that figures are not copied by hand. Pure, except for reading files and
printing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import InputError

Document = Mapping[str, Any]
_SCALES = {"bit/s": (1e9, "Gbit/s"), "packet/s": (1e3, "thousand packets/s")}  # how a unit is shown


def page(document: Document) -> str:
    """The Markdown of one results file: command, machine, cases (if the benchmark has any), bars.

    Args:
        document: in the format that `benchmarks.harness.report` writes.
    """
    machine, code = document["machine"], document["code"]
    changed = " with uncommitted changes" if code["changed"] else ""
    command = re.sub(r"^python -m ", "hoverboard python -m ", document["command"])
    lines = [
        f"`{command}`, {document['taken'][:10]}, commit {code['commit'][:10]}{changed}; "
        f"{machine['cpu']}, {machine['cores']} cores, kernel {machine['kernel']}",
        "",
    ]
    cases = document["figures"].get("cases")
    if cases:
        lines += [*_cases(cases), ""]
    lines += _bars(document["bars"])
    return "\n".join(lines) + "\n"


def _cases(cases: Sequence[Document]) -> Iterator[str]:
    names = list(dict.fromkeys(name for case in cases for name in case["summary"]))
    peers = [name for name in names if name != "fastpath"]
    yield _row(["median (least .. most) of n rounds", *names, *(f"better than {peer}" for peer in peers)])
    yield _row(["---"] * (1 + len(names) + len(peers)))
    for case in cases:
        scale, unit = _SCALES.get(case["unit"], (1.0, case["unit"]))
        counts = {summary["count"] for summary in case["summary"].values()}
        cells = [f"{case['case']}, {unit}, n = {'/'.join(map(str, sorted(counts)))}"]
        for name in names:
            summary = case["summary"].get(name)
            cells.append(_spread(summary, scale) if summary else "-")
        better = case["fastpath_better_by"]
        cells += [f"{better[peer]:.2f} x" if peer in better else "-" for peer in peers]
        yield _row(cells)


def _spread(summary: Document, scale: float) -> str:
    median, least, most = (summary[key] / scale for key in ("median", "minimum", "maximum"))
    return f"{median:.3g} ({least:.3g} .. {most:.3g})"


def _bars(bars: Sequence[Document]) -> Iterator[str]:
    yield _row(["what", "measured", "bar", ""])
    yield _row(["---"] * 4)
    for bar in bars:
        yield _row(
            [
                bar["what"], f"{bar['value']:.3g} {bar['unit']}", f"{bar['sense']} {bar['limit']:g} {bar['unit']}",
                "passed" if bar["passed"] else "**missed**",
            ]
        )  # fmt: skip


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> Document:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not {"command", "taken", "code", "machine", "figures", "bars"} <= document.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError, AttributeError) as fault:
        raise InputError(
            f"this is not a results file of a benchmark: {fault}",
            where=str(path),
            next_step="give a results/benchmark-*.json",
        ) from fault
    return dict(document)


def main(argv: list[str] | None = None) -> int:
    """Print the pages of the files; exit code 2 if one is not a results file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.harness.markdown", description="Results files as Markdown."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results/benchmark-*.json")
    try:
        pages = [page(_read(path)) for path in parser.parse_args(argv).files]
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(pages), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
