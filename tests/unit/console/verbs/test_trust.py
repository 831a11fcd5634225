"""A folder of results runs no code of its own, whatever its run.json says, without --trust-code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.cli import app
from experiments.sweeps import discovery
from experiments.sweeps.folder import Folder
from experiments.sweeps.runner import Plan

cli = CliRunner()
EXPERIMENT = """
from pathlib import Path
Path({ran!r}).touch()
from experiments.frame.experiment import Experiment
class Mine(Experiment):
    name, title, source, measures = "mine", "mine", "", "nothing"
    def points(self, values): return []
    def measure(self, bench, point, values): return []
"""


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The file that the planted experiment makes when it runs."""
    return tmp_path / "ran"


@pytest.fixture(params=["absolute", "copy", "name of a folder"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, ran: Path) -> Path:
    """A folder whose run.json names a file: somewhere, the copy inside it, or a path without a suffix."""
    made = Folder.create(tmp_path / "results", Plan(discovery.find("cpu"), "cpu").document(), resume=False)
    text = EXPERIMENT.format(ran=str(ran))
    where = tmp_path / "planted.py"
    if request.param == "copy":
        made.keep_source(text)
    else:
        where.write_text(text)
    named = str(where) if request.param != "name of a folder" else f"{where}:Mine"
    document = made.document() | {"experiment": "mine", "where": named}
    (made.path / "run.json").write_text(json.dumps(document))
    return made.path


@pytest.mark.parametrize("words", [["report"], ["report", "--json"], ["compare"]])
def test_nothing_of_a_folder_runs(folder: Path, ran: Path, words: list[str]) -> None:
    shown = cli.invoke(app, ["experiment", *words, str(folder), *([str(folder)] if words == ["compare"] else [])])
    assert not ran.exists()
    if words != ["compare"]:
        assert shown.exit_code == 2
        assert "--trust-code" in shown.stderr
        assert ".py" in shown.stderr


def test_nothing_of_a_folder_of_folders_runs(folder: Path, ran: Path) -> None:
    assert cli.invoke(app, ["experiment", "report", str(folder.parent)]).exit_code == 2
    assert not ran.exists()


def test_trusted_code_runs(folder: Path, ran: Path) -> None:
    shown = cli.invoke(app, ["experiment", "report", str(folder), "--trust-code"])
    assert ran.exists(), shown.stderr
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("method", ["charts", "verdicts"])
def test_an_error_of_the_experiments_own_report_has_its_line(tmp_path: Path, method: str) -> None:
    where = tmp_path / "mine.py"
    where.write_text(EXPERIMENT.format(ran=str(tmp_path / "ran")) + f"    def {method}(self, *_): return table.lyne\n")
    made = Folder.create(tmp_path / "results", Plan(discovery.find("cpu"), "cpu").document(), resume=False)
    (made.path / "run.json").write_text(json.dumps(made.document() | {"experiment": "mine", "where": str(where)}))
    shown = cli.invoke(app, ["experiment", "report", str(made.path), "--trust-code"])
    assert shown.exit_code == 2, shown.stderr
    assert f"{where}:9: {method}() raised NameError" in shown.stderr
    assert "--trust-code" in shown.stderr
