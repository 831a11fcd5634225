"""A run of an ordinary user, seen from outside: judged by its first process, and never by a pid of its ledger."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from topologies.client import run_client, user_runs
from topologies.processes import ledger
from topologies.processes.ledger import Ledger
from topologies.processes.process_table import LinuxProcesses, start_time
from topologies.processes.run_directory import RunDirectory, RunLock
from topologies.rootless import namespaces
from topologies.rootless.namespaces import FirstProcess

HERE = namespaces.own_pid_namespace()
ME = FirstProcess(os.getpid(), start_time(os.getpid()) or 0, HERE)
GONE = FirstProcess(2**22, 1, HERE)
ELSEWHERE = FirstProcess(1, 1, HERE + 5)
INSIDE = HERE + 1  # the pid namespace of the run


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own process is the first one in the namespaces of the run."""
    monkeypatch.setattr(namespaces, "pid_namespace", lambda pid: INSIDE if pid == os.getpid() else None)


def made(state: Path, first: FirstProcess | str, pidns: int = INSIDE) -> RunDirectory:
    """A run in other namespaces, whose ledger names our own pid."""
    state.chmod(0o700)
    directory = RunDirectory.of("r", state)
    directory.path.mkdir(mode=0o700)
    directory.lock.touch(mode=0o600)
    Ledger(directory).create(LinuxProcesses())
    head = json.loads(directory.ledger.read_text()) | {"first": str(first), "pidns": pidns}
    directory.ledger.write_text(json.dumps(head) + "\n")
    Ledger(directory).append(record="process", pid=os.getpid(), start=ME.start, what="me", kind="host")
    return directory


def test_from_outside_the_first_process_stands_for_all(tmp_path: Path, kept: None) -> None:
    found = ledger.live_processes(Ledger(made(tmp_path, ME)), LinuxProcesses())
    assert [(one.process.pid, one.kind) for one in found] == [(os.getpid(), "first")]


def test_after_its_end_nothing_is_alive(tmp_path: Path) -> None:
    directory = made(tmp_path, GONE)
    assert ledger.live_processes(Ledger(directory), LinuxProcesses()) == []
    assert [one.run for one in run_client.dead_runs(tmp_path)] == ["r"]


def test_inside_the_pids_of_the_ledger_count(tmp_path: Path) -> None:
    directory = made(tmp_path, GONE, pidns=HERE)
    assert user_runs.first_of(directory) is None
    assert [one.kind for one in ledger.live_processes(Ledger(directory), LinuxProcesses())] == ["host"]


def test_pids_of_other_namespaces_are_never_killed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="other namespaces"):
        ledger.kill_all(made(tmp_path, GONE))


def test_a_run_whose_first_process_has_ended_leaves_files_only(tmp_path: Path) -> None:
    directory = made(tmp_path, GONE)
    run_client.down("r", state=tmp_path)
    assert not directory.path.exists()


def test_a_process_that_is_not_in_the_namespaces_of_the_run_is_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that was changed by hand names a process of the user's, or of another user's."""
    killed = list[FirstProcess]()
    monkeypatch.setattr(user_runs, "_kill", killed.append)
    for first in (ME, FirstProcess(1, start_time(1) or 0, HERE)):
        directory = made(tmp_path, first)
        run_client.down("r", state=tmp_path)
        assert not directory.path.exists()
    assert killed == []


def test_while_a_holder_lives_a_run_is_not_said_to_be_down(tmp_path: Path) -> None:
    directory = made(tmp_path, GONE)
    lock = RunLock.try_take(directory, create=False)
    assert lock is not None
    with pytest.raises(RunError, match="has a holder"):
        run_client.down("r", state=tmp_path)
    lock.release()
    assert directory.ledger.exists()


@pytest.mark.parametrize("first", ["", "x:y:z", "1:2"])
def test_a_ledger_without_a_first_process_is_not_judged_from_outside(first: str, tmp_path: Path) -> None:
    directory = made(tmp_path, first)
    with pytest.raises(RunError, match="does not name the first one"):
        run_client.down("r", state=tmp_path)
    assert directory.ledger.exists()


def test_what_cannot_be_seen_from_here_is_left_alone(tmp_path: Path) -> None:
    directory = made(tmp_path, ELSEWHERE)
    with pytest.raises(RunError, match="other namespaces"):
        run_client.down("r", state=tmp_path)
    assert directory.ledger.exists()


def test_if_nothing_inside_helps_the_first_process_is_killed(
    tmp_path: Path, kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, killed = made(tmp_path, ME), list[FirstProcess]()
    monkeypatch.setattr(user_runs, "_inside", lambda first, state, *words: None)
    monkeypatch.setattr(user_runs, "_kill", killed.append)
    run_client.down("r", state=tmp_path)
    assert killed == [ME]
    assert not directory.path.exists()


def test_pids_of_a_document_are_the_callers() -> None:
    document = {"pid": 7, "nodes": [{"pid": 8, "port": 7}, {"pid": None}], "pids": 7, "x": {"pid": 99}}
    assert user_runs.translated(document, {7: 1007, 8: 1008}) == {
        "pid": 1007, "nodes": [{"pid": 1008, "port": 7}, {"pid": None}], "pids": 7, "x": {"pid": None},
    }  # fmt: skip


def test_the_pids_of_our_own_namespace_are_themselves() -> None:
    assert user_runs.pids(ME)[os.getpid()] == os.getpid()
