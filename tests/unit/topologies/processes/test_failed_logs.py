"""Logs of a failed start: kept in a place of their own, named by the error with their last lines, removed in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from topologies.processes import failed_logs
from topologies.processes.run_directory import RunDirectory, run_names


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """The directory of a run with two logs and a database."""
    made = RunDirectory.of("r", tmp_path)
    node = made.node("h1")
    node.mkdir(parents=True)
    made.logs.mkdir()
    (made.logs / "nursery.log").write_text("".join(f"line {number}\n\n" for number in range(20)))
    (node / "ovs-vswitchd.log").write_text("cannot start: made up\n")
    (node / "conf.db").touch()
    return made


def test_logs_are_moved_to_a_place_that_is_no_run(directory: RunDirectory, tmp_path: Path) -> None:
    kept = failed_logs.keep(directory)
    assert kept == tmp_path / ".failed" / "r"
    assert sorted(str(one.relative_to(kept)) for one in kept.rglob("*") if one.is_file()) == [
        "logs/nursery.log", "nodes/h1/ovs-vswitchd.log",
    ]  # fmt: skip
    assert kept.stat().st_mode & 0o777 == 0o700
    assert list(directory.path.rglob("*.log")) == []
    assert (directory.node("h1") / "conf.db").exists()
    assert (run_names(tmp_path), failed_logs.names(tmp_path)) == ([], ["r"])


def test_only_the_logs_of_the_last_failed_start_of_a_name_are_kept(directory: RunDirectory, tmp_path: Path) -> None:
    failed_logs.keep(directory)
    (directory.logs / "control.log").touch()
    kept = failed_logs.keep(directory)
    assert kept is not None
    assert [one.name for one in kept.rglob("*.log")] == ["control.log"]
    assert failed_logs.keep(directory) is None
    assert failed_logs.names(tmp_path) == []
    assert not (tmp_path / ".failed").exists()


def test_forgetting_removes_the_logs_of_one_run(directory: RunDirectory, tmp_path: Path) -> None:
    other = RunDirectory.of("other", tmp_path)
    other.path.mkdir()
    (other.path / "x.log").touch()
    failed_logs.keep(other)
    assert not failed_logs.forget(directory)
    failed_logs.keep(directory)
    assert failed_logs.forget(directory)
    assert failed_logs.names(tmp_path) == ["other"]
    assert failed_logs.forget(other)
    assert not (tmp_path / ".failed").exists()
    assert failed_logs.names(tmp_path) == []


def test_a_disk_that_cannot_be_written_loses_the_logs_and_nothing_else(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert failed_logs.keep(directory) is None


def test_an_error_names_the_kept_log_and_tells_its_last_lines(directory: RunDirectory) -> None:
    error = RunError("the nursery ended", where=str(directory.logs / "nursery.log"), next_step="read that log file")
    kept = failed_logs.keep(directory)
    failed_logs.explain(error, directory, kept)
    assert str(error) == (
        f"{kept}/logs/nursery.log: the nursery ended\n  -> read that log file; its last lines:"
        "\n     | line 15\n     | line 16\n     | line 17\n     | line 18\n     | line 19"
    )


def test_what_an_error_says_already_is_not_said_twice(directory: RunDirectory) -> None:
    log = directory.node("h1") / "ovs-vswitchd.log"
    error = RunError("it ended", where=str(log), next_step="its last line: cannot start: made up")
    kept = failed_logs.keep(directory)
    failed_logs.explain(error, directory, kept)
    assert (error.where, error.next_step) == (
        f"{kept}/nodes/h1/ovs-vswitchd.log", "its last line: cannot start: made up",
    )  # fmt: skip


def test_an_error_about_no_log_says_where_they_are(directory: RunDirectory) -> None:
    error = RunError("VMs get no answer", where="h1")
    kept = failed_logs.keep(directory)
    failed_logs.explain(error, directory, kept)
    assert str(error) == f"h1: VMs get no answer\n  -> the logs of this start are in {kept}"
    failed_logs.explain(error, directory, None)
    assert str(kept) in str(error)


def test_the_last_lines_of_a_log_are_short(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert failed_logs.last_lines(log) == []
    log.write_bytes(b"x" * 100_000 + b"\n\xff y \n" + b"z" * 1000)
    assert failed_logs.last_lines(log)[1:] == ["\N{REPLACEMENT CHARACTER} y", "z" * 300]
