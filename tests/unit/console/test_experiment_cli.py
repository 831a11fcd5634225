"""`hoverboard experiment` without a testbed: lists, bad input told before anything starts, reports and comparisons."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.cli import app
from experiments import record
from experiments.frame import discovery, runner
from experiments.frame.experiment import Sample
from experiments.frame.folder import Folder, Outcome
from experiments.frame.runner import Plan
from topologies.testbed import Testbed

cli = CliRunner()


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def up(self: Testbed, *_: object) -> None:
        raise AssertionError("a testbed was started")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Testbed, "up", up)
    monkeypatch.setattr(record, "versions", lambda: {"python": "3"})


def test_the_list_has_every_experiment_with_what_it_takes() -> None:
    shown = cli.invoke(app, ["experiment", "list", "--json"])
    assert shown.exit_code == 0
    documents = {one["name"]: one for one in json.loads(shown.stdout)}
    assert documents.keys() >= {"throughput", "latency", "cpu", "batching", "coprocessor", "isolation"}
    assert documents["latency"]["parameters"]["seconds"]["unit"] == "s"
    assert "figure 9" in cli.invoke(app, ["experiment", "list"]).stdout
    assert "generations" in cli.invoke(app, ["experiment", "list", "latency"]).stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run latencie", "there is no experiment latencie"),
        ("run nothing.py", "no such file"),
        ("run latency --set second=1", "no parameter second"),
        ("run latency --set seconds=long", "no value of seconds"),
        ("run latency --set seconds", "is not NAME=VALUE"),
        ("run latency --resume", "nothing says what to resume"),
        ("run latency --repeat 0", "nothing is measured 0 times"),
        ("run all --set seconds=1", "no parameter in common"),
        ("run latency --sweep nothing.yaml", "there is no such file"),
        ("report nowhere", "no run.json"),
        ("compare nowhere nowhere", "no run.json"),
    ],
)
def test_bad_input_is_told_with_exit_code_2(line: str, words: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if line.startswith("run") and "--resume" not in line else []
    shown = cli.invoke(app, ["experiment", *line.split(), *out])
    assert shown.exit_code == 2, shown.output
    assert words in shown.stderr
    assert "->" in shown.stderr


def made(path: Path, name: str, scale: float) -> Path:
    """A folder as a run leaves it, with round trips or throughputs of two generations."""
    experiment = discovery.find(name)
    folder = Folder.create(path, Plan(experiment, name).document(), resume=False)
    for repetition in range(3):
        for generation, value in (("pre", 800.0), ("fastpath", 100.0)):
            point = {"generation": generation, "cpus": "halting"}
            samples = [Sample("mean", scale * (value + repetition), "us", point)]
            folder.add(Outcome(f"{generation},{repetition}", point, repetition, 1.0, samples))
    folder.add(Outcome("broken", {"generation": "ovs"}, 0, 1.0, [], "MeasurementError: no answer"))
    return path


def test_reports_and_comparisons_come_from_folders_alone(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", "latency", 1.0), made(tmp_path / "b", "latency", 2.0)
    shown = cli.invoke(app, ["experiment", "report", str(a), "--json"])
    assert shown.exit_code == 0, shown.output
    (document,) = json.loads(shown.stdout)
    assert document["failed"] == 1
    results = {one["claim"]: one["result"] for one in document["verdicts"]}
    assert results["the round trip became 7 times shorter (CPUs halting)"] == "reproduced"
    assert results["the round trip became 7 times shorter (CPUs awake)"] == "not measured"
    assert "no answer" in (a / "report.html").read_text()
    shown = cli.invoke(app, ["experiment", "compare", str(a), str(b), "--json"])
    assert [round(one["ratio"], 2) for one in json.loads(shown.stdout)] == [2.0, 2.0]
    assert "2.00" in cli.invoke(app, ["experiment", "compare", str(a), str(b)]).stdout


def test_different_experiments_are_not_compared(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", "latency", 1.0), made(tmp_path / "b", "cpu", 1.0)
    shown = cli.invoke(app, ["experiment", "compare", str(a), str(b)])
    assert shown.exit_code == 2
    assert "runs of latency and cpu" in shown.stderr


def test_a_folder_of_folders_gets_an_overview(tmp_path: Path) -> None:
    made(tmp_path / "latency", "latency", 1.0)
    assert cli.invoke(app, ["experiment", "report", str(tmp_path)]).exit_code == 0
    assert "TCP round trip by generation" in (tmp_path / "summary.md").read_text()


def test_several_runs_as_one_page(tmp_path: Path) -> None:
    made(tmp_path / "all" / "latency", "latency", 1.0)
    made(tmp_path / "all" / "cpu", "cpu", 2.0)
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    shown = cli.invoke(app, ["experiment", "report", str(tmp_path / "all"), "--markdown", str(page)])
    assert shown.exit_code == 0, shown.stderr
    text = page.read_text()
    assert text.index("## TCP round trip") < text.index("## CPU per byte") < text.index("## Not in this run")
    assert "`throughput`" in text.split("## Not in this run")[1]
    linked = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert linked
    assert all((page.parent / one).stat().st_size for one in linked)


def test_versions_are_not_mixed_on_a_page(tmp_path: Path) -> None:
    made(tmp_path / "latency", "latency", 1.0)
    other = made(tmp_path / "cpu", "cpu", 2.0) / "run.json"
    document = json.loads(other.read_text())
    document["record"]["code"]["commit"] = "f" * 40
    other.write_text(json.dumps(document))
    shown = cli.invoke(app, ["experiment", "report", str(tmp_path), "--markdown", str(tmp_path / "page.md")])
    assert shown.exit_code == 2
    assert "never mix" in shown.stderr
    assert not (tmp_path / "page.md").exists()


def test_what_is_missing_on_this_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topologies.switches.datapath_type", lambda: "netdev")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert [word.partition(":")[0] for word in runner.missing()] == ["dataplane ovs-offload", "pinning"]
