"""Space for a run's files: too little is an error before the start, and a full disk is named as the reason later."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoverboard.contract.errors import MachineError, RunError
from topologies.processes import state_space
from topologies.processes.run_directory import RunDirectory


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.of("r", tmp_path / "not" / "made")


def free(monkeypatch: pytest.MonkeyPatch, kib: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=kib, f_frsize=1024))


def test_a_run_needs_space_by_its_size(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 1408)
    state_space.check(directory, 3)
    with pytest.raises(MachineError, match=r"made: only 1,408 KiB free, and a run of this size needs 1,536 KiB\n  -> "):
        state_space.check(directory, 4)
    assert not directory.path.parent.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_file_that_cannot_be_written_is_the_reason(number: int, directory: RunDirectory) -> None:
    found = state_space.reason(OSError(number, os.strerror(number)), directory)
    assert found is not None
    assert f"made: cannot be written: {os.strerror(number).lower()}\n  -> make room there, or set" in str(found)


def test_what_fails_on_a_full_disk_fails_for_that(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RunError("the nursery ended", next_step="read that log file")
    assert state_space.reason(error, directory) is None
    assert state_space.reason(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), directory) is None
    free(monkeypatch, 0)
    found = state_space.reason(error, directory)
    assert found is not None
    assert found.what == "no space left; then: the nursery ended"
