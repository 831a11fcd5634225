"""A run's directory: its name, its lock, who holds it, and which runs there are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from hoverboard.contract.errors import InputError, RunError
from tests.unit.topologies.real_processes import open_files
from topologies.processes.run_directory import RunDirectory, RunLock, existing, is_held, run_names, state_dir


@pytest.fixture
def directory() -> Iterator[RunDirectory]:
    with tempfile.TemporaryDirectory(prefix="hb") as base:
        run = RunDirectory.of("r", Path(base))
        run.path.mkdir()
        yield run


def test_one_lock_one_holder(directory: RunDirectory) -> None:
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    assert RunLock.try_take(directory, create=True) is None
    assert is_held(directory) is True
    lock.release()
    before = open_files()
    assert is_held(directory) is False
    assert open_files() == before  # to look is not to hold
    again = RunLock.try_take(directory, create=True)
    assert again is not None
    again.release()


def test_a_lock_on_a_file_that_was_removed_is_no_lock(directory: RunDirectory) -> None:
    first = RunLock.try_take(directory, create=True)
    assert first is not None
    directory.lock.unlink()
    second = RunLock.try_take(directory, create=True)
    assert second is not None
    first.release()
    assert is_held(directory)
    second.release()


def test_a_second_release_does_not_release_the_lock_of_another(directory: RunDirectory) -> None:
    first = RunLock.try_take(directory, create=True)
    assert first is not None
    first.release()
    second = RunLock.try_take(directory, create=True)
    assert second is not None
    first.release()  # its descriptor has the second one's number by now
    assert is_held(directory)
    second.release()


def test_a_lock_is_made_for_its_owner_alone_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = open_files()
    directory = RunDirectory.of("r", tmp_path / "state")
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    assert [one.stat().st_mode & 0o777 for one in (directory.path, directory.lock)] == [0o700, 0o600]
    assert RunLock.try_take(directory, create=True) is None
    lock.release()
    assert open_files() == before


def test_a_run_that_is_not_there_is_not_made_to_see_whether_it_is_held(tmp_path: Path) -> None:
    directory = RunDirectory.of("r", tmp_path)
    assert is_held(directory) is False
    with pytest.raises(FileNotFoundError):
        RunLock.try_take(directory, create=False)
    assert list(tmp_path.iterdir()) == []


class Changing(RunDirectory):
    """Another process takes the run down meanwhile: each look at the lock's path does the next step first."""

    steps: ClassVar[list[Callable[[Path], object]]] = []

    @property
    def lock(self) -> Path:
        if self.steps:
            self.steps.pop(0)(self.path)
        return super().lock


def nothing(path: Path) -> None:
    """Another process does nothing."""


def removed(path: Path) -> None:
    shutil.rmtree(path)


def lock_removed(path: Path) -> None:
    (path / "lock").unlink()


def lock_replaced(path: Path) -> None:
    kept = path / "kept"  # so that the new file cannot get the old one's inode
    (path / "lock").rename(kept)
    (path / "lock").touch()


@pytest.mark.parametrize("steps", [[removed], [nothing, lock_removed], [nothing, removed], [nothing, lock_replaced]])
def test_who_waits_for_a_run_that_is_taken_down_gets_the_lock_of_the_next(
    directory: RunDirectory, steps: list[Callable[[Path], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_files()
    monkeypatch.setattr(Changing, "steps", list(steps))
    lock = RunLock.try_take(Changing(directory.run, directory.path), create=True)
    assert lock is not None
    assert Changing.steps == []
    assert is_held(directory)
    lock.release()
    assert open_files() == before


def test_a_run_that_is_taken_down_while_it_is_looked_at_is_not_held(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.lock.touch()
    before = open_files()
    monkeypatch.setattr(Changing, "steps", [nothing, lock_removed])
    assert not is_held(Changing(directory.run, directory.path))
    assert open_files() == before


# --- names and paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["r", "R2", "0", "a.b_c-d", "x" * 40])
def test_names_of_runs_are_letters_digits_and_a_few_signs(name: str, tmp_path: Path) -> None:
    directory = RunDirectory.of(name, tmp_path)
    assert (directory.run, directory.path) == (name, tmp_path / name)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "-x", "_x", "x" * 41, "sp ace", "r\n"])
def test_run_names_cannot_leave_the_state_directory(name: str) -> None:
    with pytest.raises(InputError, match="is not a name for a run") as refused:
        RunDirectory.of(name)
    assert refused.value.where == "--run"


def test_the_state_directory_is_run_hoverboard_or_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOVERBOARD_STATE_DIR", raising=False)
    assert RunDirectory.of("r").path == Path("/run/hoverboard/r")
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", "")
    assert state_dir() == Path("/run/hoverboard")
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", "/tmp/elsewhere")
    assert RunDirectory.of("r").path == Path("/tmp/elsewhere/r")


def test_each_file_of_a_run_has_its_place() -> None:
    directory = RunDirectory.of("r", Path("/s"))
    assert {
        name: str(getattr(directory, name).relative_to("/s/r"))
        for name in (
            "ledger", "closing", "lock", "socket", "topology", "logs", "control", "secret", "nursery", "engines",
        )
    } == {
        "ledger": "ledger.jsonl", "closing": "closing", "lock": "lock", "socket": "holder.sock",
        "topology": "topology.yaml", "logs": "logs", "control": "control", "secret": "secret",
        "nursery": "nursery.sock", "engines": "engines.sock",
    }  # fmt: skip
    assert directory.node("h1") == Path("/s/r/nodes/h1")


def test_runs_are_directories_with_a_ledger(tmp_path: Path) -> None:
    assert run_names(tmp_path / "none") == []
    for name in ("b", "a", "without"):
        (tmp_path / name).mkdir()
    for name in ("b", "a"):
        RunDirectory.of(name, tmp_path).ledger.touch()
    (tmp_path / "file").touch()
    assert run_names(tmp_path) == ["a", "b"]


def test_runs_of_the_usual_state_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOVERBOARD_STATE_DIR", str(tmp_path))
    (tmp_path / "r").mkdir()
    RunDirectory.of("r").ledger.touch()
    assert run_names() == ["r"]
    assert existing("r").path == tmp_path / "r"


def test_a_run_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run 'r'") as refused:
        existing("r", tmp_path)
    assert refused.value.next_step == "there are no runs; start one with `hoverboard up`"
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        RunDirectory.of(name, tmp_path).ledger.touch()
    with pytest.raises(RunError) as refused:
        existing("r", tmp_path)
    assert (refused.value.where, refused.value.next_step) == (str(tmp_path / "r"), "runs here: a, b")
    assert existing("a", tmp_path) == RunDirectory.of("a", tmp_path)


def test_a_file_in_place_of_a_runs_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    directory = RunDirectory.of("r", tmp_path)
    for use in (lambda: RunLock.try_take(directory, create=True), lambda: existing("r", tmp_path)):
        with pytest.raises(RunError, match="a file where the directory of run 'r' should be") as refused:
            use()
        assert refused.value.where == str(tmp_path / "r")
        assert "move that file away" in (refused.value.next_step or "")
    with pytest.raises(RunError, match="a file where"):
        RunLock.try_take(RunDirectory.of("r", tmp_path / "r"), create=True)
    assert not is_held(directory)
    assert directory.foreign_entries() == []


def test_a_folder_in_place_of_a_lock_is_no_lock(directory: RunDirectory) -> None:
    directory.lock.mkdir()
    assert not is_held(directory)
    with pytest.raises(FileNotFoundError):
        RunLock.try_take(directory, create=False)
    with pytest.raises(RunError, match="is a directory, not the lock of a run") as refused:
        RunLock.try_take(directory, create=True)
    assert refused.value.next_step == "remove what is left of the run with: hoverboard down --run r"


def test_a_run_without_its_ledger_is_told_from_one_that_is_not_there(directory: RunDirectory) -> None:
    state = directory.path.parent
    directory.ledger.mkdir()
    assert run_names(state) == []
    directory.lock.touch()
    with pytest.raises(RunError, match="run 'r' has lost its ledger") as refused:
        existing("r", state)
    assert refused.value.next_step == "take down what is left of it with: hoverboard down --run r"


def test_socket_paths_that_are_too_long_are_refused() -> None:
    directory = RunDirectory.of("r", Path("/s"))
    rest = len(str(directory.node("") / "x" / "ovs-vswitchd.1234567.ctl")) - 1
    directory.check_socket_paths([])
    directory.check_socket_paths(["h1", "h" * (107 - rest), "h2"])
    with pytest.raises(InputError, match="longer than a Unix socket's path may be") as refused:
        directory.check_socket_paths(["h1", "h" * (108 - rest), "h2"])
    assert "shorter" in str(refused.value)
    with pytest.raises(InputError):
        RunDirectory.of("r", Path("/" + "s" * 200)).check_socket_paths([])
