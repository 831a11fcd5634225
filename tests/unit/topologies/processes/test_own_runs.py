"""A run that another user can have made is refused: its ledger says which processes root kills."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.real_processes import open_files
from topologies.client import run_client
from topologies.processes import ledger
from topologies.processes.marks import Mark
from topologies.processes.process_table import LinuxProcesses, Process, start_time
from topologies.processes.run_directory import RunDirectory, RunLock, existing, is_held, run_names

STRANGER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run with a ledger, that nothing is wrong with."""
    made = RunDirectory.of("r", tmp_path / "state")
    made.make()
    ledger.Ledger(made).create(LinuxProcesses())
    return made


@pytest.fixture
def victim(directory: RunDirectory) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that the ledger names, as one of the run and as its holder, though it is neither."""
    with subprocess.Popen(["sleep", "60"]) as process:
        start = start_time(process.pid) or 0
        head = json.loads(directory.ledger.read_text())
        head["mark"] = str(Mark("0", Process(process.pid, start), directory.path))
        record = {"record": "process", "pid": process.pid, "start": start, "what": "x", "kind": "host"}
        directory.ledger.write_text(json.dumps(head) + "\n" + json.dumps(record) + "\n")
        try:
            yield process
        finally:
            process.kill()


def linked(path: Path) -> None:
    """Put a link in the place of a path, to what was there."""
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def spoil(directory: RunDirectory, how: str) -> None:
    """Make one part of a run another user's, or one that others can write, or a link."""
    what, fault = how.split(": ")
    path = {"state": directory.path.parent, "run": directory.path, "ledger": directory.ledger}[what]
    if fault == "link":
        linked(path)
    elif fault == "stranger":
        os.chown(path, STRANGER, STRANGER)
    else:
        path.chmod(int(fault, 8))


FAULTS = [f"{what}: {fault}" for what in ("state", "run", "ledger") for fault in ("link", "777", "770", "757")]
FOREIGN = [pytest.param(f"{what}: stranger", marks=as_root) for what in ("state", "run", "ledger")]


@pytest.mark.parametrize("how", [*FAULTS, *FOREIGN])
def test_a_run_that_others_can_have_made_is_refused_and_kills_nothing(
    directory: RunDirectory, victim: subprocess.Popen[bytes], how: str
) -> None:
    spoil(directory, how)
    state = directory.path.parent
    before = open_files()
    for verb in (
        lambda: run_client.down("r", state=state),
        lambda: run_client.dead_runs(state),
        lambda: run_client.live_runs(state),
        lambda: existing("r", state),
        lambda: is_held(directory),
        lambda: RunLock.try_take(directory, create=True),
        lambda: ledger.kill_all(directory),
        lambda: ledger.sweep(directory),
    ):
        with pytest.raises(RunError) as caught:
            verb()
        assert caught.value.where in (str(state), str(directory.path), str(directory.ledger))
        assert "HOVERBOARD_STATE_DIR" in caught.value.next_step
    assert victim.poll() is None
    assert open_files() == before
    assert not directory.closing.exists()


def test_a_run_of_our_own_is_taken_down(directory: RunDirectory, victim: subprocess.Popen[bytes]) -> None:
    assert ledger.sweep(directory) == ["x"]
    assert victim.wait(5) == -9
    assert run_names(directory.path.parent) == []


def test_a_folder_above_that_all_users_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    directory = RunDirectory.of("r", tmp_path / "shared" / "state")
    with pytest.raises(RunError, match=f"all users can write {tmp_path}/shared"):
        RunLock.try_take(directory, create=True)
    (tmp_path / "shared").chmod(0o1777)  # as /tmp: nobody exchanges what another user has there
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    lock.release()


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_folder_above_of_another_user_is_refused_and_nothing_is_made_there(tmp_path: Path, mode: int) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "ours").mkdir(parents=True)
    theirs.chmod(mode)
    os.chown(theirs, STRANGER, STRANGER)
    (tmp_path / "link").symlink_to(theirs / "ours")
    for state in (theirs / "state", theirs / "ours" / "state", tmp_path / "link" / "state"):
        with pytest.raises(RunError, match=f"{theirs} belongs to user {STRANGER}"):
            RunLock.try_take(RunDirectory.of("r", state), create=True)
        with pytest.raises(RunError, match=f"{theirs} belongs to user {STRANGER}"):
            run_names(state)
    assert [os.listdir(theirs), os.listdir(theirs / "ours")] == [["ours"], []]


@as_root
def test_a_link_of_another_user_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    run_names(tmp_path / "link" / "state")
    os.chown(tmp_path / "link", STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(RunError, match=f"{tmp_path}/link belongs to user {STRANGER}"):
        run_names(tmp_path / "link" / "state")


@as_root
def test_a_folder_above_that_another_group_may_write_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    run_names(shared / "state")
    os.chown(shared, 0, STRANGER)
    with pytest.raises(RunError, match=f"group {STRANGER} can write {shared}"):
        run_names(shared / "state")
    shared.chmod(0o1775)
    run_names(shared / "state")


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_the_umask_does_not_open_or_close_a_state_directory(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        directory = RunDirectory.of("r", tmp_path / "state")
        directory.make()
        directory.make()
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (directory.path.parent, directory.path)]
    assert modes == [0o755, 0o700]


def test_a_state_directory_may_be_named_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunDirectory.of("r", Path("state")).path == tmp_path / "state" / "r"


@as_root
def test_nothing_is_removed_before_the_state_directory_is_known_to_be_ours(tmp_path: Path) -> None:
    """The logs of failed starts lie beside the runs: a link in their place leads to files of others."""
    victim = tmp_path / "victim" / "r"
    victim.mkdir(parents=True)
    (victim / "file").touch()
    state = tmp_path / "state"
    state.mkdir()
    (state / ".failed").symlink_to(victim.parent)
    run_client.down("r", state=state, missing_ok=True)
    assert (victim / "file").exists(), "a link is not followed"
    (state / ".failed").unlink()
    (state / ".failed" / "r").mkdir(parents=True)
    os.chown(state, STRANGER, STRANGER)
    with pytest.raises(RunError, match="belongs to user"):
        run_client.down("r", state=state)
    assert (state / ".failed" / "r").exists()
