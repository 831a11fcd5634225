"""Reports from a folder alone: rows, verdicts, captions, the summary, the page, the overview of several."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from experiments import figures
from experiments.frame.experiment import Chart, ClaimVerdict, Sample, SampleTable, Series
from experiments.frame.sample_statistics import Spread
from experiments.observe import provenance
from experiments.sweeps import discovery, report, runner
from experiments.sweeps.folder import Folder
from experiments.sweeps.report import Row
from experiments.sweeps.runner import Plan
from tests.unit.experiments.sweeps.dice import written
from tests.unit.experiments.sweeps.fake_bench import FakeBench, quiet
from tests.unit.experiments.undrawn import kept

MACHINE = {"cores": 2, "cpu": "made up", "kernel": "6.18"}


@pytest.fixture(autouse=True)
def known_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "abcdef" * 7, "changed": False})
    monkeypatch.setattr(provenance, "machine", lambda: MACHINE)
    monkeypatch.setattr(runner, "machine", list)


def run(tmp_path: Path, name: str = "out", **settings: Any) -> Folder:
    file = written(tmp_path)
    given = {name: settings.pop(name) for name in ("offset", "broken") if name in settings}
    return runner.run(Plan(discovery.find(file), file, given, **settings), tmp_path / name, FakeBench(), quiet)


def test_rows_are_samples_that_differ_in_nothing_but_their_value() -> None:
    samples = [
        Sample("rate", 1.0, "x", {"a": 1, "b": 2}), Sample("time", 9.0, "s"),
        Sample("rate", 5.0, "x", {"b": 2, "a": 1}),
        Sample("rate", None, "x", {"a": 1, "b": 2}, "failed"), Sample("rate", 7.0, "x", {"a": 2}),
    ]  # fmt: skip
    assert report.rows(SampleTable(samples)) == [
        Row("rate", "x", {"a": 1, "b": 2}, 2, 2.0, 3.0, 4.0), Row("time", "s", {}, 1, 9.0, 9.0, 9.0),
        Row("rate", "x", {"a": 2}, 1, 7.0, 7.0, 7.0),
    ]  # fmt: skip


def test_parameters_are_those_the_run_was_measured_with(tmp_path: Path) -> None:
    dice = discovery.find(written(tmp_path))
    document = {"parameters": {"sides": [4], "gone": 1}, "quick": False}
    assert report.parameters_of(dice, document) == {"sides": (4,), "offset": 0, "broken": 0}
    assert report.parameters_of(dice, {"parameters": {}, "quick": True})["sides"] == (6,)


@pytest.mark.parametrize(
    ("note", "series", "caption"),
    [
        ("Own.", [Series("a", [1], [1.0])], "Own."),
        (
            "",
            [Series("a", [1], [1.0], [Spread(1, 1, 1, 1)])],
            "Marks are medians, bars are quartiles; n is in the legend.",
        ),
        (
            "Own.",
            [Series("a", [1], [1.0], [Spread(1, 1, 1, 1)]), Series("p", [1], [1.0], paper=True)],
            "Own. Marks are medians, bars are quartiles; n is in the legend. Grey and dashed: values of the paper.",
        ),
    ],
)
def test_a_caption_says_what_the_marks_mean(note: str, series: Sequence[Series], caption: str) -> None:
    assert report.note(Chart("n", "t", "x", "y", series, note=note)) == caption


def test_verdicts_as_markdown() -> None:
    lines = report.verdict_lines(
        [ClaimVerdict("a | b", "p", "o", "partly", "w", 0.1234), ClaimVerdict("c", "p", "o", "not", "w")], 3
    )
    assert lines == [
        "| the paper's claim | paper | here | here / paper | verdict | why |",
        "|---|---|---|---|---|---|",
        "| a \\| b | p | o | 0.12 | **partly** | w |",
        "| c | p | o |  | **not** | w |",
    ]


@pytest.mark.parametrize(
    ("result", "repetitions", "word"),
    [
        ("reproduced", 1, "reproduced (one repetition)"),
        ("partly", 1, "partly (one repetition)"),
        ("not", 1, "not (one repetition)"),
        ("not measured", 1, "not measured"),
        ("reproduced", 2, "reproduced"),
    ],
)
def test_a_verdict_on_one_repetition_says_so(result: str, repetitions: int, word: str) -> None:
    assert report.verdict_word(result, repetitions) == word


def test_the_report_stands_on_the_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_DPI", 40)
    folder = Folder(run(tmp_path).path)
    (tmp_path / "dice.py").unlink()
    (verdict,) = report.write(folder)
    assert verdict.result == "reproduced"
    assert json.loads((folder.path / "verdicts.json").read_text()) == [asdict(verdict)]
    page = (folder.path / "report.html").read_text()
    assert "<svg" in page
    assert "viewport" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "eyes &lt; sides | always" in page
    assert "n = 3" in (folder.path / "figures" / "eyes.svg").read_text()
    assert (folder.path / "figures" / "eyes.png").stat().st_size > 1000
    rows = list(csv.DictReader((folder.path / "samples.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert rows[0].keys() >= {"metric", "value", "unit", "error", "sides"}


def test_the_summary_says_what_was_taken_and_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    folder = run(tmp_path, broken=20, seed=9, repeat=2)
    document = folder.document()
    document["record"] |= {"taken": "2026-11-29T12:00:00+00:00"}
    (folder.path / "run.json").write_text(json.dumps(document))
    report.write(folder)
    lines = (folder.path / "summary.md").read_text().splitlines()
    assert lines[:6] == [
        "# Dice", "", "Experiment `dice`, none. what dice show", "",
        "Taken 2026-11-29T12:00:00+00:00, commit abcdefabcd, seed 9, 2 repetitions; 2 cores (made up), kernel 6.18.",
        "",
    ]  # fmt: skip
    assert lines[8] == "| eyes < sides \\| always | yes | yes | 1 | **reproduced** | because |"
    assert lines[9:14] == [
        "", "![Eyes](figures/eyes.png)", "", "Marks are medians, bars are quartiles; n is in the legend.", "",
    ]  # fmt: skip
    assert lines[14] == "4 samples, 2 failed."
    assert lines[15].startswith("- point {'sides': 20}: MeasurementError: ")
    assert len(lines) == 17


def test_a_quick_run_of_changed_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    folder = run(tmp_path, quick=True)
    document = folder.document()
    for code, words in (({"commit": None, "changed": None}, "commit unknown,"),
                        ({"commit": "f" * 40, "changed": True}, "commit ffffffffff with local changes,")):  # fmt: skip
        document["record"]["code"] = code
        (folder.path / "run.json").write_text(json.dumps(document))
        report.write(folder)
        text = (folder.path / "summary.md").read_text()
        assert words in text
        assert "1 repetition, quick; 2 cores" in text


def test_a_chart_without_values_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = kept(monkeypatch)
    folder = run(tmp_path, quick=True)
    (folder.path / "points.jsonl").unlink()
    report.write(folder)
    assert drawn == {}
    assert "figures/" not in (folder.path / "summary.md").read_text()
    assert "There is no figure, because no point gave a sample." in (folder.path / "report.html").read_text()


def test_the_page_has_a_row_for_each_group_and_each_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(monkeypatch)
    folder = run(tmp_path, broken=20)
    report.write(folder)
    page = (folder.path / "report.html").read_text()
    values = folder.table().spread("eyes", sides=6)
    assert values is not None
    numbers = "".join(f'<td class="n">{one:.4g}</td>' for one in (values.low, values.median, values.high))
    assert f'<tr><td>eyes</td><td>6</td><td class="n">3</td>{numbers}<td>eyes</td></tr>' in page
    assert page.count("it rolled under the table") == 3
    assert '<svg id="eyes">' in page
    assert "Marks are medians" in page


def test_an_overview_has_the_verdicts_and_figures_of_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(monkeypatch)
    one, other = run(tmp_path, quick=True), run(tmp_path, "other", quick=True)
    for folder in (one, other):
        report.write(folder)
    (other.path / "verdicts.json").write_text("[]")
    lines = report.overview([one, other]).splitlines()
    assert lines[:6] == ["# The paper's evaluation beside ours", "", "## Dice", "", "`dice`, none.", ""]
    assert lines[8:11] == [
        "| eyes < sides \\| always | yes | yes | 1 | **reproduced (one repetition)** | because |", "",
        "![Dice](out/figures/eyes.png)",
    ]  # fmt: skip
    assert lines[12:] == [
        "## Dice", "", "`dice`, none.", "", "The paper has no claim about this.", "", "![Dice](other/figures/eyes.png)",
    ]  # fmt: skip
