"""Writes several runs as one page of Markdown, with figures beside it, as docs/reproduction.md.

It reads folders only and measures nothing. It rejects results of different versions of the code. The page
names the experiments of the catalogue that have no run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.frame.experiment import ClaimVerdict
from experiments.sweeps import discovery, report
from experiments.sweeps.folder import Folder
from hoverboard.contract.errors import InputError, counted
from hoverboard.safe_files import write_file

RESULTS = ("reproduced", "partly", "not", "not measured")


@dataclass(frozen=True, slots=True)
class Run:
    """A run whose report has been written.

    Attributes:
        document: its run.json.
        verdicts: the results for the paper's claims.
    """

    folder: Folder
    document: Mapping[str, Any]
    verdicts: Sequence[ClaimVerdict]

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return str(self.document["experiment"])


def write(folders: Sequence[Folder], to: Path, catalogue: Sequence[str]) -> Counter[str]:
    """Write the page, and its figures into the folder of the same name beside it.

    Args:
        folders: the folders of runs with their reports, in any order.
        to: the path of the page.
        catalogue: the names of the experiments in order. The end of the page names those without a run.

    Returns:
        The number of claims by result.

    Raises:
        InputError: there is no run, an experiment has two runs, or the runs have different versions of the code.
    """
    runs = sorted((_run(one) for one in folders), key=lambda one: _place(one.name, catalogue))
    _check(runs)
    figures = to.with_suffix("")
    if figures == to:
        raise InputError("the name of the page needs a suffix", where=str(to), next_step="name it FILE.md")
    tally: Counter[str] = Counter(one.result for run in runs for one in run.verdicts)
    lines = [*_head(runs, tally), ""]
    for run in runs:
        lines += _section(run, figures)
    if missing := [name for name in catalogue if name not in {run.name for run in runs}]:
        lines += ["## Not in this run", "", ", ".join(f"`{name}`" for name in missing) + ".", ""]
    write_file(to.parent, to.name, "\n".join(lines).rstrip() + "\n")
    return tally


def _run(folder: Folder) -> Run:
    verdicts = json.loads((folder.path / report.VERDICTS).read_text())
    return Run(folder, folder.document(), [ClaimVerdict(**one) for one in verdicts])


def _place(name: str, catalogue: Sequence[str]) -> tuple[int, str]:
    return (catalogue.index(name) if name in catalogue else len(catalogue), name)


def _check(runs: Sequence[Run]) -> None:
    if not runs:
        raise InputError("there is no run to report", where="DIR", next_step="give folders that `experiment run` made")
    names = Counter(one.name for one in runs)
    if twice := [name for name, number in names.items() if number > 1]:
        raise InputError(f"two runs of {twice[0]}", where="DIR", next_step="give one folder an experiment")
    versions = {json.dumps(one.document["record"]["code"], sort_keys=True): one.folder.path for one in runs}
    if len(versions) > 1:
        raise InputError(
            "runs of different versions of the code, and results never mix versions",
            where=" and ".join(str(path) for path in list(versions.values())[:2]),
            next_step="run `experiment run all` with one version",
        )


def _head(runs: Sequence[Run], tally: Counter[str]) -> list[str]:
    record = runs[0].document["record"]
    machine, code = record["machine"], record["code"]
    commit = (code["commit"] or "unknown")[:10] + (" with local changes" if code["changed"] else "")
    minutes = sum(one.seconds for run in runs for one in run.folder.outcomes()) / 60
    counts = ", ".join(f"{tally[name]} {name}" for name in RESULTS if tally[name])
    quick = [run.name for run in runs if run.document["quick"]]
    return [
        "# The paper's evaluation beside ours",
        "",
        "This page compares the paper's claims with what one run of all experiments measured.",
        "",
        f"Machine: {counted(machine['cores'], 'core')} ({machine['cpu']}, kernel {machine['kernel']}), "
        f"{record['taken'][:10]}, commit {commit}. The measurements alone took {counted(round(minutes), 'minute')}. "
        "These commands repeat the run:",
        "",
        "    sudo hoverboard experiment run all --out results/all",
        "    hoverboard experiment report results/all --markdown reproduction.md",
        "",
        "The paper measured on servers with 40 Gbit/s; this is an emulation in software on a few cores. So compare",
        'shapes and ratios, not absolute figures. A verdict says what this run showed, "not" included.',
        "",
        *([f"Measured with `--quick`, for a first look only: {', '.join(quick)}.", ""] if quick else []),
        f"Of {counted(tally.total(), 'claim')}: {counts}." if tally else "No claim of the paper was measured.",
    ]  # fmt: skip


def _section(run: Run, figures: Path) -> list[str]:
    document, table = dict(run.document), run.folder.table()
    experiment = discovery.find(run.folder.where())
    failed = len(table.failed())
    lines = [
        f"## {experiment.title}",
        "",
        f"`{experiment.name}`, {experiment.source}. {experiment.measures[:1].upper()}{experiment.measures[1:]}",
        "",
        *(
            report.verdict_lines(run.verdicts, document["repeat"])
            if run.verdicts
            else ["The paper has no claim about this."]
        ),
        "",
        f"{counted(len(table) - failed, 'sample')}, {failed} failed; {counted(document['repeat'], 'repetition')}, "
        f"seed {document['seed']}.",
        "",
    ]
    for chart in experiment.charts(table, report.parameters_of(experiment, document)):
        drawn = run.folder.path / "figures" / f"{chart.name}.png"
        if drawn.exists() and any(len(series.y) for series in chart.series):
            copy = figures / f"{run.name}--{chart.name}.png"
            write_file(figures, copy.name, drawn.read_bytes())
            lines += [f"![{chart.title}]({figures.name}/{copy.name})", "", *_caption(report.note(chart))]
    return lines


def _caption(words: str) -> list[str]:
    return [words, ""] if words else []
