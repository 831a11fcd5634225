"""`hoverboard experiment` without a testbed: lists, bad input, reports and comparisons from folders alone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from console.cli import app
from console.show import experiment_tables
from console.verbs.experiment_run import failure_lines
from experiments.frame.experiment import ClaimVerdict, Sample, SampleTable
from experiments.frame.parameters import Parameter
from experiments.observe import provenance
from experiments.sweeps import discovery, runner
from experiments.sweeps.comparison import compare
from experiments.sweeps.folder import Folder, Outcome
from experiments.sweeps.runner import Plan
from tests.unit.experiments.undrawn import kept
from topologies.run.testbed import Testbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

cli = CliRunner()


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def up(self: Testbed, *_: object) -> None:
        raise AssertionError("a testbed was started")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Testbed, "up", up)
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    return kept(monkeypatch)


def rows(table: Any) -> list[list[str]]:
    """The cells of a table, row by row."""
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_the_list_has_every_experiment_with_what_it_takes() -> None:
    shown = cli.invoke(app, ["experiment", "list", "--json"])
    assert shown.exit_code == 0
    documents = {one["name"]: one for one in json.loads(shown.stdout)}
    assert list(documents) == list(discovery.catalogue())
    latency = documents["latency"]
    assert (latency["title"], latency["source"]) == ("TCP round trip by generation", "figure 9")
    assert (latency["minutes"], latency["repeat"]) == (1.5, 5)
    assert latency["measures"].startswith("one byte there and back")
    assert latency["parameters"]["seconds"] == {
        "default": 1.0, "unit": "s", "what": "of each measurement", "allowed": "a number from 0.1 to 60 (s)",
    }  # fmt: skip


def test_the_list_is_shown_as_tables() -> None:
    whole, one = (cli.invoke(app, ["experiment", "list", *name]).stdout for name in ([], ["latency"]))
    assert "figure 9" in whole
    assert "section 6.1" in whole
    assert "parameters (--set NAME=VALUE)" not in whole
    assert "figure 9" in one
    assert "section 6.1" not in one
    assert "generations" in one


def test_rows_of_experiments_and_parameters() -> None:
    document = {"name": "n", "source": "s", "measures": "m", "minutes": 1.5}
    assert rows(experiment_tables.experiments([document])) == [["n", "s", "m", "1.5"]]
    several = (Parameter("x", (1, 2), "s", "what", least=1), Parameter("y", "w", "", "which"))
    assert rows(experiment_tables.parameters(several)) == [
        ["x", "1,2", "s", "what", "a whole number from 1 (s); several by comma"], ["y", "w", "-", "which", "a word"],
    ]  # fmt: skip


def test_rows_of_verdicts_and_comparisons() -> None:
    several = [ClaimVerdict("c", "p", "o", "partly", "w", 0.123), ClaimVerdict("c", "p", "o", "not", "w")]
    table = experiment_tables.verdicts("dice", several, 2)
    assert table.title == "dice"
    assert rows(table) == [["c", "p", "o", "0.12", "partly", "w"], ["c", "p", "o", "", "not", "w"]]
    once = experiment_tables.verdicts("dice", several, 1)
    assert [row[4] for row in rows(once)] == ["partly (one repetition)", "not (one repetition)"]
    a = SampleTable([Sample("m", value, "us", {"x": 1, "y": "z"}) for value in (1.0, 3.0)] + [Sample("n", 0.0, "s")])
    b = SampleTable([Sample("m", 12345.6, "us", {"x": 1, "y": "z"}), Sample("n", 0.0, "s")])
    assert rows(experiment_tables.compared(compare(a, b))) == [
        ["m", "x=1, y=z", "2 (n=2)", "1.235e+04 (n=1)", "us", "6172.80", "yes"],
        ["n", "-", "0 (n=1)", "0 (n=1)", "s", "-", "no"],
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run latencie", "there is no experiment latencie"),
        ("run nothing.py", "there is no Python file 'nothing.py'"),
        ("run latency --set second=1", "no parameter second"),
        ("run latency --set seconds=long", "not a value of seconds"),
        ("run latency --set seconds", "is not NAME=VALUE"),
        ("run latency --resume", "--resume needs the folder with the results"),
        ("run latency --repeat 0", "repetitions is below 1"),
        ("run all --set seconds=1", "--set and --sweep work for one experiment only"),
        ("run all --sweep nothing.yaml", "--set and --sweep work for one experiment only"),
        ("run latency --sweep nothing.yaml", "there is no such sweep"),
        ("report nowhere", "no readable run.json"),
        ("compare nowhere nowhere", "no readable run.json"),
        ("list latencie", "there is no experiment latencie"),
    ],
)
def test_bad_input_is_refused_with_exit_code_2(line: str, words: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if line.startswith("run") and "--resume" not in line else []
    shown = cli.invoke(app, ["experiment", *line.split(), *out])
    assert shown.exit_code == 2, shown.output
    assert words in shown.stderr
    assert "->" in shown.stderr
    assert not (tmp_path / "out").exists()


def made(path: Path, name: str, scale: float, *, failed: bool = True) -> Path:
    """A folder as a run leaves it, with round trips of two generations and a point that failed."""
    experiment = discovery.find(name)
    folder = Folder.create(path, Plan(experiment, name).document(), resume=False)
    for repetition in range(3):
        for generation, value in (("pre", 800.0), ("fastpath", 100.0)):
            point = {"generation": generation, "cpus": "halting"}
            samples = [Sample("mean", scale * (value + repetition), "us", point)]
            folder.add(Outcome(f"{generation},{repetition}", point, repetition, 1.0, samples))
    if failed:
        folder.add(Outcome("broken", {"generation": "ovs"}, 0, 1.0, [], "MeasurementError: no answer"))
    return path


def test_reports_come_from_folders_alone(tmp_path: Path, drawn: dict[str, Figure]) -> None:
    a = made(tmp_path / "a", "latency", 1.0)
    shown = cli.invoke(app, ["experiment", "report", str(a), "--json"])
    assert shown.exit_code == 0, shown.output
    (document,) = json.loads(shown.stdout)
    assert (document["folder"], document["failed"]) == (str(a), 1)
    found = {one["claim"]: one for one in document["verdicts"]}
    gain = found["the round trip became 7 times shorter (CPUs halting)"]
    assert (gain["result"], gain["ours"]) == ("reproduced", "7.9 x (fastpath over pre)")
    assert gain["ratio"] == pytest.approx(801 / 101 / 7)
    assert found["the round trip became 7 times shorter (CPUs awake)"]["result"] == "not measured"
    assert list(drawn) == ["generations-halting"]
    bars = [bar.get_height() for bar in drawn["generations-halting"].axes[0].patches]
    assert bars == pytest.approx([1.0, 101 / 801, 1.0, 33.7 / 265.9])
    page = (a / "report.html").read_text()
    assert "MeasurementError: no answer" in page
    assert '<td>mean</td><td>pre</td><td>halting</td><td class="n">3</td><td class="n">800.5</td>' in page


def test_a_report_is_shown_in_words(tmp_path: Path) -> None:
    a = made(tmp_path / "a", "latency", 1.0)
    shown = cli.invoke(app, ["experiment", "report", str(a)])
    assert shown.exit_code == 0
    assert "7.9 x (fastpath" in " ".join(shown.stdout.split())
    assert "1 sample failed:" in shown.stdout
    assert "MeasurementError: no answer" in shown.stdout
    assert f"report: {a / 'report.html'}" in shown.stdout.replace("\n", "")
    well = cli.invoke(app, ["experiment", "report", str(made(tmp_path / "b", "latency", 1.0, failed=False))])
    assert "failed" not in well.stdout


def test_each_error_of_a_run_is_shown_once_with_what_it_ended() -> None:
    name = "NameError: name 'x' is not defined (/home/me/sizes.py:18, in sizes)"
    failed = [Sample("point", None, "", {"size": size}, name) for size in (56, 600)]
    failed += [Sample("mean", None, "us", {}, f"MeasurementError: {number}") for number in range(6)]
    assert list(failure_lines(failed)) == [
        "8 samples failed:",
        f"  {name} [point size=56 and 1 more]",
        *(f"  MeasurementError: {number} [mean]" for number in range(4)),
        "  and 2 other errors: see the report",
    ]
    assert list(failure_lines([])) == []


def test_a_run_of_nothing_but_failures_ends_with_exit_code_1(tmp_path: Path) -> None:
    folder = Folder.create(tmp_path / "a", Plan(discovery.find("cpu"), "cpu").document(), resume=False)
    assert cli.invoke(app, ["experiment", "report", str(folder.path)]).exit_code == 1
    folder.add(Outcome("broken", {"generation": "ovs"}, 0, 1.0, [], "MeasurementError: no answer"))
    assert cli.invoke(app, ["experiment", "report", str(folder.path)]).exit_code == 1
    good = made(tmp_path / "b", "latency", 1.0)
    assert cli.invoke(app, ["experiment", "report", str(good), str(folder.path)]).exit_code == 1
    assert cli.invoke(app, ["experiment", "report", str(good)]).exit_code == 0


def test_two_runs_are_compared(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", "latency", 1.0), made(tmp_path / "b", "latency", 2.0)
    shown = cli.invoke(app, ["experiment", "compare", str(a), str(b), "--json"])
    found = json.loads(shown.stdout)
    assert [(one["metric"], one["labels"]["generation"], one["ratio"], one["apart"]) for one in found] == [
        ("mean", "pre", 2.0, True), ("mean", "fastpath", 2.0, True),
    ]  # fmt: skip
    assert (found[0]["a"]["median"], found[0]["b"]["median"]) == (801.0, 1602.0)
    assert "2.00" in cli.invoke(app, ["experiment", "compare", str(a), str(b)]).stdout


def test_different_experiments_are_not_compared(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", "latency", 1.0), made(tmp_path / "b", "cpu", 1.0)
    shown = cli.invoke(app, ["experiment", "compare", str(a), str(b)])
    assert shown.exit_code == 2
    assert "runs of latency and cpu" in shown.stderr


def test_a_folder_of_folders_gets_an_overview(tmp_path: Path) -> None:
    made(tmp_path / "latency", "latency", 1.0)
    made(tmp_path / "cpu", "cpu", 1.0)
    (tmp_path / "else").mkdir()
    shown = cli.invoke(app, ["experiment", "report", str(tmp_path), "--json"])
    assert shown.exit_code == 0
    assert [Path(one["folder"]).name for one in json.loads(shown.stdout)] == ["cpu", "latency"]
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("# The paper's evaluation beside ours\n\n## CPU per byte by generation\n\n`cpu`, figure 10.")
    assert (
        "| the round trip became 7 times shorter (CPUs halting) | 7 x (2.2 over pre) | 7.9 x (fastpath over pre)"
        in text
    )
    assert "![TCP round trip by generation](latency/figures/generations-halting.png)" in text


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
    assert linked == ["page/latency--generations-halting.png"]
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


def test_what_is_missing_on_this_machine_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topologies.emulation.ovs_daemons.datapath_type", lambda: "netdev")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(runner, "machine", list)
    assert runner.missing() == [
        "dataplane ovs-offload: the kernel has no module openvswitch",
        "pinning: 0 CPUs on 0 cores are too few to give any to one side alone",
    ]
    monkeypatch.setattr("topologies.emulation.ovs_daemons.datapath_type", lambda: "system")
    assert [word.partition(":")[0] for word in runner.missing()] == ["pinning"]
