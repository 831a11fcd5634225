"""The lock of a new run: not over what another run has left, and not over files of other programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from topologies.processes.ledger import Ledger
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.run_directory import RunDirectory, RunLock, is_held
from topologies.run import up


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.of("r", tmp_path)


def test_a_new_run_has_a_directory_with_a_lock_alone(directory: RunDirectory) -> None:
    lock = up.take_lock(directory)
    assert is_held(directory)
    assert [one.name for one in directory.path.iterdir()] == ["lock"]
    with pytest.raises(RunError, match="run 'r' is already up"):
        up.take_lock(directory)
    lock.release()
    up.take_lock(directory).release()  # of a start that crashed


@pytest.mark.parametrize("left", ["whole", "without lock", "without ledger", "a folder as ledger"])
def test_a_run_does_not_start_over_what_another_has_left(directory: RunDirectory, left: str) -> None:
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    lock.release()
    if left == "without ledger":
        directory.logs.mkdir()
    elif left == "a folder as ledger":
        directory.ledger.mkdir()
    else:
        Ledger(directory).create(LinuxProcesses())
    if left == "without lock":
        directory.lock.unlink()
    before = sorted(directory.path.iterdir())
    with pytest.raises(RunError, match="parts of the run are left") as refused:
        up.take_lock(directory)
    assert "hoverboard down --run r" in (refused.value.next_step or "")
    assert sorted(directory.path.iterdir()) == before
    assert not is_held(directory)


def test_a_run_does_not_start_among_other_files_or_in_place_of_one(directory: RunDirectory) -> None:
    directory.path.mkdir()
    (directory.path / "thesis.tex").touch()
    with pytest.raises(RunError, match="files that no run makes: thesis.tex"):
        up.take_lock(directory)
    assert [one.name for one in directory.path.iterdir()] == ["thesis.tex"]
    (directory.path / "thesis.tex").unlink()
    directory.path.rmdir()
    directory.path.touch()
    with pytest.raises(RunError, match="a file where the directory of run 'r' should be"):
        up.take_lock(directory)
