"""`hoverboard experiment run` from the command line to the report, with an experiment that needs no testbed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from console.cli import app
from experiments.frame import results_place
from experiments.observe import provenance
from experiments.sweeps import bench, discovery, runner
from experiments.sweeps.folder import Folder
from hoverboard import safe_files
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


def test_samples_that_failed_without_an_exception_are_measured_again(file: str, tmp_path: Path) -> None:
    Path(file).write_text(
        Path(file).read_text().replace("raise MeasurementError(", "yield Sample('rolls', None, '', dict(point), str(")
        .replace('where="the table")', '))')
    )  # fmt: skip
    words = (file, "--out", str(tmp_path / "out"), "--set", "broken=6")
    shown = run(*words)
    assert shown.exit_code == 0, shown.stderr
    assert "3 samples failed:" in shown.stdout
    assert f"to measure them again: experiment run with --resume --out {tmp_path}" in shown.stdout
    shown = run(*words, "--resume")
    assert "(3 of 3" in shown.stderr
    assert len(Folder(tmp_path / "out").table().failed()) == 3


@pytest.mark.parametrize("words", [("out", "--quick"), ("out/below",), ("out", "--resume"), ("out/results", "--quick")])
def test_a_file_as_out_is_told_before_anything_is_measured(words: tuple[str, ...], file: str, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    place, *more = words
    shown = run(file, "--out", str(tmp_path / place), *more)
    assert shown.exit_code == 2
    assert f"--out: {tmp_path / 'out'} is a file, not a folder\n  -> give another --out" in shown.stderr
    assert "dice:" not in shown.stderr


def test_too_little_space_is_told_before_anything_is_measured(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_place, "RUN_MIB", 1 << 40)
    shown = run(file, "--out", str(tmp_path / "out"), "--quick")
    assert shown.exit_code == 4
    assert "MiB free, and the results may need" in shown.stderr
    assert not (tmp_path / "out").exists()


def full_after(monkeypatch: pytest.MonkeyPatch, writes: int, name: str) -> None:
    """Fill the disk once so many files with this in their name are written."""
    left = [writes]
    write = safe_files._finish

    def finish(there: int, draft: str, fd: int, file: str, data: str | bytes) -> None:
        if name in file:
            left[0] -= 1
            if left[0] < 0:
                os.close(fd)
                os.unlink(draft, dir_fd=there)
                raise OSError(errno.ENOSPC, "No space left on device")
        write(there, draft, fd, file, data)

    monkeypatch.setattr(safe_files, "_finish", finish)


def test_a_disk_that_fills_up_keeps_what_was_measured_and_resume_goes_on(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as full:
        full_after(full, 4, "--throw")
        shown = run(file, "--out", str(out))
    assert shown.exit_code == 4
    assert shown.stderr.endswith(
        f"hoverboard: {out}: cannot be written: no space left on device\n"
        f"  -> make room; what was measured is there, to continue, add --resume --out {out}\n"
    )
    assert len(Folder(out).table()) == 4
    assert list(out.rglob(".hoverboard-*")) == []
    shown = run(file, "--out", str(out), "--resume")
    assert shown.exit_code == 0, shown.stderr
    assert "(2 of 2" in shown.stderr
    assert len(Folder(out).table()) == 6


def test_a_disk_that_is_full_when_the_report_is_written_loses_no_point(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as full:
        full_after(full, 0, "report.html")
        shown = run(file, "--out", str(out), "--quick")
    assert shown.exit_code == 4
    assert f"all points are measured, so then: hoverboard experiment report {out} --trust-code\n" in shown.stderr
    assert cli.invoke(app, ["experiment", "report", str(out), "--trust-code"]).exit_code == 0


def test_a_report_that_cannot_be_written_is_told(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert run(file, "--out", str(out), "--quick").exit_code == 0
    full_after(monkeypatch, 0, "report.html")
    shown = cli.invoke(app, ["experiment", "report", str(out), "--trust-code"])
    assert shown.exit_code == 4
    assert "cannot be written: no space left on device\n  -> make room, or copy the folder" in shown.stderr


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
