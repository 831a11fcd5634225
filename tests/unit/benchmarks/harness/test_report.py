"""The end of a benchmark: its results file, its tables, its exit code; and what every command has in common."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import coprocessor, encryption, flow_setup, outage, programming, routes, startup
from benchmarks.datapath import __main__ as datapath
from benchmarks.harness import command, report
from benchmarks.harness.bars import Bar
from benchmarks.ports import __main__ as ports
from console.show import tables
from experiments.observe import provenance
from hoverboard import safe_files
from hoverboard.contract.errors import MachineError, RunError

WELL, BADLY = Bar("speed", 2.345, 2.0, ">=", "x"), Bar("delay", 5.0, 4.5, "<", "ms")


@pytest.fixture(autouse=True)
def known_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = {"cpu": "made up", "cores": 2, "kernel": "6.18"}
    monkeypatch.setattr(
        provenance, "record", lambda given: {"parameters": given, "machine": machine, "command": "hoverboard"}
    )
    monkeypatch.setattr(sys, "argv", ["-m", "--only", "two words"])
    monkeypatch.chdir(tmp_path)


def finish(bars: list[Bar], **settings: Any) -> int:
    shown = [tables.table("the table", ("name",), [("row",)])]
    given = {"as_json": False, "out": None} | settings
    return report.finish("made_up", {"rounds": 3}, {"figures": [1]}, bars, shown, **given)


def test_bars_are_shown_with_what_was_measured() -> None:
    columns = [list(column.cells) for column in report.bars_table([WELL, BADLY]).columns]
    assert columns == [["passed", "MISSED"], ["speed", "delay"], ["2.35 x", "5.00 ms"], [">= 2 x", "< 4.5 ms"]]


@pytest.mark.parametrize(("bars", "code"), [([WELL], 0), ([WELL, BADLY], 1), ([], 0)])
def test_the_exit_code_is_1_when_a_bar_is_missed(bars: list[Bar], code: int, tmp_path: Path) -> None:
    assert finish(bars, out=tmp_path / "new" / "results.json") == code
    document = json.loads((tmp_path / "new" / "results.json").read_text())
    assert document == {
        "benchmark": "made_up", "parameters": {"rounds": 3},
        "machine": {"cpu": "made up", "cores": 2, "kernel": "6.18"},
        "command": "python -m benchmarks.made_up --only 'two words'", "figures": {"figures": [1]},
        "bars": [bar.as_dict() for bar in bars], "passed": not code,
    }  # fmt: skip


def test_results_are_printed_as_tables_or_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.json"
    finish([WELL], out=out)
    shown = capsys.readouterr().out
    assert "the table" in shown
    assert "speed" in shown
    assert shown.endswith(f"made up, 2 cores, kernel 6.18; results: {out}\n")
    finish([WELL], out=out, as_json=True)
    assert capsys.readouterr().out == out.read_text()


def test_the_results_file_has_the_date_in_its_name_unless_it_is_given(tmp_path: Path) -> None:
    finish([])
    (path,) = (tmp_path / "results").iterdir()
    assert path.name.startswith("benchmark-made_up-20")
    assert path.suffix == ".json"


def test_every_command_may_print_json_and_name_its_results_file() -> None:
    given = command.parser("What it is.").parse_args(["--json", "--out", "x.json"])
    assert (given.json, given.out) == (True, Path("x.json"))
    assert (command.parser(None).parse_args([]).json, command.parser(None).parse_args([]).out) == (False, None)


def test_a_default_folder_of_another_user_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(safe_files, "_is_trusted", lambda uid: False)
    with pytest.raises(SystemExit):
        command.parser(None).parse_args([])
    assert "belongs to user" in capsys.readouterr().err


def test_figures_for_a_folder_that_became_another_users_are_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(safe_files, "_is_trusted", lambda uid: False)
    with pytest.raises(MachineError, match="the results are on stdout"):
        finish([WELL], out=tmp_path / "x.json")
    assert json.loads(capsys.readouterr().out)["figures"] == {"figures": [1]}


@pytest.mark.parametrize(("value", "fits"), [(None, True), (1, True), (0.1, True), (0, False), (-1, False)])
def test_a_number_of_rounds_is_above_0(value: float | None, fits: bool, capsys: pytest.CaptureFixture[str]) -> None:
    parser, given = argparse.ArgumentParser(), argparse.Namespace(rounds=value, seconds=1)
    if fits:
        command.above_zero(parser, given, "seconds", "rounds")
        assert capsys.readouterr().err == ""
        return
    with pytest.raises(SystemExit):
        command.above_zero(parser, given, "seconds", "rounds")
    assert "--rounds must be above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (startup.options, "--repeat 0"), (startup.options, "--idle 0"), (ports.options, "--rounds 0"),
        (ports.options, "--seconds 0"), (encryption.options, "--repeat 0"), (encryption.options, "--seconds 0"),
        (outage.options, "--rounds 0"), (routes.options, "--rounds 0"), (routes.options, "--routes 0"),
        (datapath.options, "--repeat 0"), (datapath.options, "--seconds 0"), (flow_setup.options, "--repeat 0"),
        (flow_setup.options, "--seconds 0"), (flow_setup.options, "--window 0"), (coprocessor.main, "--repeat 0"),
        (coprocessor.main, "--seconds 0"), (programming.options, "--hosts 0 --vms 1"), (programming.options, "--vms 0"),
    ],
)  # fmt: skip
def test_no_benchmark_measures_0_times_or_for_0_seconds(
    options: Callable[[list[str]], object], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(line.split())
    assert f"{line.split()[0]} must be above 0" in capsys.readouterr().err


def test_a_run_has_a_name_of_its_own() -> None:
    names = {command.run_name("wide") for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("bench-wide-") for name in names)


@pytest.mark.parametrize(
    ("raises", "code", "words"),
    [
        (None, 7, ""),
        (RunError("no such run"), 3, "hoverboard: no such run"),
        (MachineError("no root", next_step="sudo"), 4, "-> sudo"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_benchmark_ends_with_its_code_or_its_error_s(
    raises: BaseException | None, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(progress: command.Progress) -> int:
        progress("a step", 0.5)
        if raises is not None:
            raise raises
        return 7

    assert command.execute(measure) == code
    shown = capsys.readouterr().err
    assert "a step" in shown
    assert words in shown
