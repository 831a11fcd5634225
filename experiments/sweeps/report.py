"""Writes the report of a run from its folder: samples.csv, figures, verdicts.json, summary.md, report.html."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments import figures
from experiments.frame.experiment import Chart, ClaimVerdict, Experiment, Sample, SampleTable
from experiments.frame.parameters import Values, values
from experiments.frame.sample_statistics import spread
from experiments.sweeps import discovery, drawing
from experiments.sweeps.folder import Folder
from hoverboard.contract.errors import counted
from hoverboard.contract.plugins import file_of, user_code
from hoverboard.safe_files import write_file

REPORT, SUMMARY, VERDICTS = "report.html", "summary.md", "verdicts.json"


@dataclass(frozen=True, slots=True)
class Row:
    """The spread of samples that have the same metric, unit and labels."""

    metric: str
    unit: str
    labels: dict[str, Any]
    n: int
    low: float
    median: float
    high: float


def rows(table: SampleTable) -> list[Row]:
    """The rows of a table, one for each metric and labels, in order of appearance."""
    groups: dict[str, list[Sample]] = {}
    for one in table.samples:
        if one.value is not None:
            groups.setdefault(json.dumps([one.metric, one.labels], sort_keys=True), []).append(one)
    found = []
    for several in groups.values():
        of = spread([one.value for one in several if one.value is not None])
        first = several[0]
        found.append(Row(first.metric, first.unit, dict(first.labels), of.n, of.low, of.median, of.high))
    return found


def parameters_of(experiment: Experiment, document: dict[str, Any]) -> Values:
    """The parameters of a run, from its run.json."""
    known = {one.name for one in experiment.parameters}
    given = {name: value for name, value in document["parameters"].items() if name in known}
    return values(experiment.parameters, given, quick=bool(document["quick"]))


def write(folder: Folder) -> list[ClaimVerdict]:
    """Write the report of a run, and return its verdicts.

    Raises:
        InputError: the folder is not that of a run, or its experiment no longer exists.
    """
    document = folder.document()
    experiment = discovery.find(folder.where())
    table, given = folder.table(), parameters_of(experiment, document)
    folder.write_csv()
    with _told("verdicts()", folder):
        verdicts = experiment.verdicts(table, given)
    write_file(folder.path, VERDICTS, json.dumps([asdict(one) for one in verdicts], indent=2) + "\n")
    with _told("charts()", folder):
        charts = [one for one in experiment.charts(table, given) if any(len(series.y) for series in one.series)]
    drawn = list(_drawn(charts, folder.path / "figures"))
    write_file(folder.path, SUMMARY, _summary(experiment, document, table, verdicts, charts))
    write_file(folder.path, REPORT, _page(experiment, document, table, verdicts, drawn))
    return verdicts


def _told(what: str, folder: Folder) -> contextlib.AbstractContextManager[None]:
    """Tells an error of the block with its line in the user's own file; the measured data stay."""
    found = file_of(folder.where())
    if found is None:
        return contextlib.nullcontext()
    step = f"correct it, then: hoverboard experiment report {folder.path} --trust-code"
    return user_code(what, found[0], next_step=step)


def _drawn(charts: Sequence[Chart], folder: Path) -> Iterable[dict[str, str]]:
    with figures.style():
        for chart in charts:
            figure = drawing.draw(chart)
            figures.write(figure, folder / chart.name)
            yield {"svg": figures.inline_svg(figure, chart.name), "note": note(chart)}


def note(chart: Chart) -> str:
    """The caption of a figure: its note, and the meaning of its marks."""
    words = [chart.note] if chart.note else []
    if any(one.spreads for one in chart.series):
        words.append("Marks are medians, bars are quartiles; n is in the legend.")
    if any(one.paper for one in chart.series):
        words.append("Grey and dashed: values of the paper.")
    return " ".join(words)


def _page(
    experiment: Experiment,
    document: dict[str, Any],
    table: SampleTable,
    verdicts: list[ClaimVerdict],
    drawn: list[dict[str, str]],
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("experiments"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found = rows(table)
    return environment.get_template("experiment.html.j2").render(
        e=experiment,
        run=document,
        verdicts=verdicts,
        word=lambda result: verdict_word(result, document["repeat"]),
        figures=drawn,
        rows=found,
        labels=list(dict.fromkeys(name for row in found for name in row.labels)),
        failed=table.failed(),
    )


def verdict_word(result: str, repetitions: int) -> str:
    """A verdict in words: one repetition has no spread, and says no more than how this run ended."""
    return f"{result} (one repetition)" if repetitions == 1 and result in ("reproduced", "partly", "not") else result


def verdict_lines(verdicts: Iterable[ClaimVerdict], repetitions: int) -> list[str]:
    """The verdict table in Markdown."""
    lines = ["| the paper's claim | paper | here | here / paper | verdict | why |", "|---|---|---|---|---|---|"]
    for one in verdicts:
        ratio = f"{one.ratio:.2g}" if one.ratio is not None else ""
        cells = (one.claim, one.paper, one.ours, ratio, f"**{verdict_word(one.result, repetitions)}**", one.why)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _summary(
    experiment: Experiment,
    document: dict[str, Any],
    table: SampleTable,
    verdicts: list[ClaimVerdict],
    charts: list[Chart],
) -> str:
    record = document["record"]
    code = (record["code"]["commit"] or "unknown")[:10] + (" with local changes" if record["code"]["changed"] else "")
    machine = record["machine"]
    lines = [
        f"# {experiment.title}",
        "",
        f"Experiment `{experiment.name}`, {experiment.source}. {experiment.measures}",
        "",
        f"Taken {record['taken']}, commit {code}, seed {document['seed']}, {counted(document['repeat'], 'repetition')}"
        f"{', quick' if document['quick'] else ''}{', rootless' if record.get('privileges') == 'rootless' else ''}; "
        f"{counted(machine['cores'], 'core')} ({machine['cpu']}), kernel {machine['kernel']}.",
        "",
    ]
    if verdicts:
        lines += [*verdict_lines(verdicts, document["repeat"]), ""]
    for chart in charts:
        lines += [f"![{chart.title}](figures/{chart.name}.png)", "", note(chart), ""]
    failed = table.failed()
    lines.append(f"{counted(len(table) - len(failed), 'sample')}, {len(failed)} failed.")
    lines += [f"- {one.metric} {dict(one.labels)}: {one.error}" for one in failed]
    return "\n".join(lines) + "\n"


def overview(folders: Iterable[Folder]) -> str:
    """The verdicts of several runs as one page of Markdown."""
    lines = ["# The paper's evaluation beside ours", ""]
    for folder in folders:
        experiment = discovery.find(folder.where())
        verdicts = [ClaimVerdict(**one) for one in json.loads((folder.path / VERDICTS).read_text())]
        lines += [f"## {experiment.title}", "", f"`{experiment.name}`, {experiment.source}.", ""]
        repeat = folder.document()["repeat"]
        lines += [*(verdict_lines(verdicts, repeat) if verdicts else ["The paper has no claim about this."]), ""]
        for figure in sorted((folder.path / "figures").glob("*.png")):
            lines += [f"![{experiment.title}]({folder.path.name}/figures/{figure.name})", ""]
    return "\n".join(lines)
