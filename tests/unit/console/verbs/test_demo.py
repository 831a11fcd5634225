"""`hoverboard demo`: where its results go is looked at first, and a full disk does not lose what was measured."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from console.cli import app
from experiments.demo import demo as experiment
from experiments.demo import demo_report
from experiments.demo.demo_results import DemoResult, Generation
from experiments.frame import results_place
from experiments.observe import provenance
from hoverboard import safe_files
from tests.unit.experiments.demo.demonstration import result
from tests.unit.experiments.undrawn import kept

cli = CliRunner()


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that the demonstration was asked to measure; it measures nothing."""
    asked: list[str] = []

    def run(spec: Any, progress: Any, keep: Callable[[Generation], None]) -> DemoResult:
        asked.append(spec.run)
        found = result()
        for one in found.generations:
            keep(one)
        return found

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(experiment, "run", run)
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    kept(monkeypatch)
    return asked


def demo(*words: str) -> Result:
    return cli.invoke(app, ["demo", *words])


def test_all_files_are_written(tmp_path: Path, measured: list[str]) -> None:
    shown = demo("--out", str(tmp_path / "out"), "--run", "mine")
    assert (shown.exit_code, measured) == (0, ["mine"])
    assert f"report: {tmp_path}/out/report.html" in shown.stdout.replace("\n", "")
    assert (tmp_path / "out" / "report.html").exists()


def test_a_file_as_out_is_told_before_anything_is_measured(tmp_path: Path, measured: list[str]) -> None:
    (tmp_path / "out").touch()
    shown = demo("--out", str(tmp_path / "out"))
    assert (shown.exit_code, measured) == (2, [])
    assert f"--out: {tmp_path}/out is a file, not a folder\n  -> give another --out" in shown.stderr


def test_too_little_space_is_told_before_anything_is_measured(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_place, "DEMO_MIB", 1 << 40)
    shown = demo("--out", str(tmp_path / "out"))
    assert (shown.exit_code, measured) == (4, [])
    assert "MiB free, and the results may need" in shown.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_a_disk_that_is_full_at_the_end_still_shows_the_figures(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out" / "report.html"))

    monkeypatch.setattr(demo_report, "_page", full)
    shown = demo("--out", str(tmp_path / "out"), *(["--json"] if as_json else []))
    assert shown.exit_code == 4
    assert shown.stderr.endswith(
        f"hoverboard: {tmp_path}/out/report.html: cannot be written: no space left on device\n"
        "  -> make room, or give another --out; stdout has the figures\n"
    )
    if as_json:
        assert len(json.loads(shown.stdout)["generations"]) == 2
    else:
        assert "report: none" in shown.stdout
    # All figures are in the files that were written first.
    assert len(json.loads((tmp_path / "out" / "summary.json").read_text())["generations"]) == 2


def test_raw_data_are_kept_as_soon_as_a_generation_is_measured(tmp_path: Path) -> None:
    first = result().generations[0]
    demo_report.keep_raw(first, tmp_path / "out")
    assert (tmp_path / "out" / "raw" / "fastpath-ping-direct.txt").exists()
    (tmp_path / "file").touch()
    demo_report.keep_raw(first, tmp_path / "file")  # told when the report is written


def test_raw_data_for_a_folder_of_another_user_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_files, "_is_trusted", lambda uid: False)
    demo_report.keep_raw(result().generations[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
