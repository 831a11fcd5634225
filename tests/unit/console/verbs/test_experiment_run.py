"""`hoverboard experiment run` from the command line to the report, with an experiment that needs no testbed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from console.cli import app
from experiments.observe import provenance
from experiments.sweeps import bench, discovery, runner
from experiments.sweeps.folder import Folder
from tests.unit.experiments.sweeps import dice
from tests.unit.experiments.undrawn import kept

cli = CliRunner()


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(runner, "machine", list)  # too few CPUs to pin anything
    kept(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return dice.written(tmp_path)


def run(*words: str) -> Result:
    return cli.invoke(app, ["experiment", "run", *words])


def test_a_run_leaves_its_folder_and_tells_its_verdicts(file: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown = run(file, "--out", str(out), "--set", "offset=3", "--seed", "7", "--json")
    assert shown.exit_code == 0, shown.stderr
    (document,) = json.loads(shown.stdout)
    assert (document["folder"], document["failed"]) == (str(out), 0)
    assert [one["result"] for one in document["verdicts"]] == ["reproduced"]
    kept_document = Folder(out).document()
    assert (kept_document["seed"], kept_document["repeat"], kept_document["quick"]) == (7, 3, False)
    assert kept_document["parameters"]["offset"] == 3
    assert kept_document["where"] == file
    assert len(Folder(out).table()) == 6
    assert (out / "report.html").is_file()
    assert "dice: sides=20 (6 of 6, about" in shown.stderr


def test_a_relative_path_is_kept_as_the_whole_one(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("dice.py", "--quick", "--pin", "off").exit_code == 0
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("dice-20")
    document = Folder(folder).document()
    assert (document["where"], document["quick"], document["repeat"]) == (file, True, 1)
    assert document["record"]["pinning"] == "off"
    assert len(Folder(folder).table()) == 1


def test_repetitions_and_a_sweep(file: str, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("offset: [0, 100]\n")
    shown = run(file, "--out", str(tmp_path / "out"), "--repeat", "2", "--sweep", str(sweep))
    assert shown.exit_code == 0, shown.stderr
    assert len(Folder(tmp_path / "out").table()) == 2 * 2 * 2
    assert "report:" in shown.stdout


@pytest.mark.parametrize(("named", "code"), [("latency", 2), (None, 0)])
def test_a_sweep_of_another_experiment_is_refused(named: str | None, code: int, file: str, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"experiment: {named or file}\noffset: [1]\n")
    shown = run(file, "--quick", "--out", str(tmp_path / "out"), "--sweep", str(sweep))
    assert shown.exit_code == code
    assert ("this sweep is for latency, not for" in shown.stderr) == bool(code)


def test_resuming_goes_on_and_without_it_the_folder_is_refused(file: str, tmp_path: Path) -> None:
    words = (file, "--out", str(tmp_path / "out"), "--set", "broken=6")
    assert run(*words).exit_code == 0
    again = run(*words)
    assert (again.exit_code, "has a run already" in again.stderr) == (2, True)
    shown = run(*words, "--resume")
    assert shown.exit_code == 0
    assert "(3 of 3" in shown.stderr  # those that failed are tried again
    assert "3 samples failed:" in shown.stdout


def test_resuming_what_never_began_begins_it(file: str, tmp_path: Path) -> None:
    assert run(file, "--out", str(tmp_path / "out"), "--quick", "--resume").exit_code == 0


def test_all_runs_every_experiment_into_a_folder_of_its_own(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = discovery.find(file)
    monkeypatch.setattr(discovery, "catalogue", lambda: {"dice": found})
    shown = run("all", "--out", str(tmp_path / "out"), "--quick")
    assert shown.exit_code == 0, shown.stderr
    assert len(Folder(tmp_path / "out" / "dice").table()) == 1
    assert "## Dice" in (tmp_path / "out" / "summary.md").read_text()


def test_an_interrupted_run_says_how_to_go_on(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    def interrupted(self: bench.TestbedBench, key: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.TestbedBench, "begin", interrupted)
    monkeypatch.setattr(bench.TestbedBench, "close", lambda self: closed.append(True))
    out = tmp_path / "out"
    shown = run(file, "--out", str(out), "--quick")
    assert shown.exit_code == 130
    assert f"results so far are in {out}; to continue, add --resume --out {out}" in shown.stderr
    assert closed == [True]
