"""`down` of runs whose directory is damaged: what is left is ended by ledger and mark, the holder first."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.rpc.server import Server
from tests.unit.topologies.processes.fake_proc import FakeProc
from tests.unit.topologies.real_processes import Children
from tests.waiting import until
from topologies.client import lost_runs, orphans, run_client
from topologies.processes import marks
from topologies.processes.ledger import Ledger, missing
from topologies.processes.marks import Mark
from topologies.processes.process_table import LinuxProcesses, Process, identified
from topologies.processes.run_directory import RunDirectory, RunLock, run_names


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProc:
    """The processes with a mark on this machine."""
    made = FakeProc(tmp_path)
    monkeypatch.setattr(marks, "Machine", lambda: made.machine)
    monkeypatch.setattr(marks, "LinuxProcesses", lambda: made)
    monkeypatch.setattr(lost_runs, "_HOLDER_TIMEOUT", 0.0)  # we are the holder, and live on
    return made


def begun(state: Path, name: str = "r") -> RunDirectory:
    """The directory of a run without a holder."""
    directory = RunDirectory.of(name, state)
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    Ledger(directory).create(LinuxProcesses())
    lock.release()
    return directory


def mark_of(directory: RunDirectory) -> Mark:
    mark = Ledger(directory).mark
    assert mark is not None
    return mark


class Holder:
    """This process as the holder of a run; it ends the run's processes when it is asked to.

    Attributes:
        requests: `shutdown`, for each request.
        answers: whether it takes the run down, or goes on.
    """

    def __init__(self, directory: RunDirectory, end: Callable[[], object]) -> None:
        self.requests: list[str] = []
        self.answers = True
        self._end = end
        self._server = Server(directory.socket, {"shutdown": self._shutdown})
        self._server.start("holder")

    def _shutdown(self) -> bool:
        self.requests.append("shutdown")
        if self.answers:
            self._end()
            os.unlink(self._server._path)
        return True

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def holding(proc: FakeProc) -> Iterator[Callable[[RunDirectory], Holder]]:
    made: list[Holder] = []

    def hold(directory: RunDirectory) -> Holder:
        made.append(Holder(directory, lambda: proc.remove(10)))
        return made[-1]

    yield hold
    for one in made:
        one.close()


# --- the directory is not intact ------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [["lock"], ["ledger"], ["lock", "ledger"]])
def test_a_lost_run_is_ended_by_its_holder_first_then_by_its_mark(
    state: Path, proc: FakeProc, holding: Callable[[RunDirectory], Holder], gone: list[str]
) -> None:
    directory = begun(state)
    mark = mark_of(directory)
    proc.add(10, mark)
    proc.add(11, mark)
    holder = holding(directory)
    for name in gone:
        getattr(directory, name).unlink()
    run_client.down("r", state=state)
    assert holder.requests == ["shutdown"]
    assert proc.killed == [11]
    assert not directory.path.exists()


@pytest.mark.parametrize("gone", ["lock", "ledger"])
def test_a_lost_run_without_a_holder_is_ended(state: Path, proc: FakeProc, gone: str) -> None:
    directory = begun(state)
    proc.add(10, mark_of(directory))
    directory.logs.mkdir()
    getattr(directory, gone).unlink()
    run_client.down("r", state=state)
    assert (proc.killed, directory.path.exists()) == ([10], False)


@pytest.mark.parametrize("gone", ["lock", "ledger"])
def test_what_a_lost_run_without_processes_leaves_is_removed(state: Path, gone: str) -> None:
    directory = begun(state)
    directory.logs.mkdir()
    getattr(directory, gone).unlink()
    run_client.down("r", state=state)
    assert not directory.path.exists()


def test_a_run_whose_lock_was_replaced_is_ended_by_its_holder(
    state: Path, proc: FakeProc, holding: Callable[[RunDirectory], Holder]
) -> None:
    directory = begun(state)
    proc.add(10, mark_of(directory))
    holder = holding(directory)  # the lock is one that it does not hold
    run_client.down("r", state=state)
    assert (holder.requests, proc.killed, directory.path.exists()) == (["shutdown"], [], False)


def test_another_holder_at_the_socket_of_a_lost_run_is_not_asked(
    state: Path, proc: FakeProc, holding: Callable[[RunDirectory], Holder]
) -> None:
    first = mark_of(begun(state))._replace(id="0", holder=Process(4_000_000, 1))
    proc.add(10, first)
    holder = holding(RunDirectory.of("r", state))
    (lost,) = orphans.lost_runs(proc.machine)
    orphans.end(lost)
    assert (holder.requests, proc.killed) == ([], [10])
    assert missing(RunDirectory.of("r", state)) is None


def test_a_holder_that_hangs_is_ended_by_a_signal(state: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = begun(state)
    mark = mark_of(directory)
    listen = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen(2)\ntime.sleep(60)"
    monkeypatch.setattr(lost_runs, "_REQUEST_TIMEOUT", 0.05)
    with Children() as children:
        hung = children.start("/usr/bin/python3", "-c", listen, str(directory.socket))
        process = identified(hung.pid)
        assert process is not None
        until(lambda: lost_runs.serves(process, directory.socket))
        hung_mark = mark._replace(holder=process)
        directory.ledger.write_text(directory.ledger.read_text().replace(str(mark), str(hung_mark)))
        directory.lock.unlink()
        run_client.down("r", state=state)
        assert hung.wait(5.0) == -15
    assert not directory.path.exists()


def test_a_holder_with_too_many_connections_still_serves(tmp_path: Path) -> None:
    us = identified(os.getpid())
    assert us is not None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "holder.sock"))
        listener.listen(0)
        full = [lost_runs.serves(us, tmp_path / "holder.sock") for _ in range(5)]
        assert full == [True] * 5
        assert lost_runs.request_shutdown(tmp_path / "holder.sock") is False
    assert not lost_runs.serves(us, tmp_path / "holder.sock")


def test_processes_that_start_all_the_time_are_an_error(
    state: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = begun(state)
    mark = mark_of(directory)
    directory.lock.unlink()
    monkeypatch.setattr(marks, "end", lambda mark: proc.add(10, mark))
    with pytest.raises(RunError, match="meanwhile the run has started 1 process") as left:
        run_client.down("r", state=state)
    assert f"pid {mark.holder.pid}" in (left.value.next_step or "")
    assert directory.ledger.exists()


# --- files in the wrong place ---------------------------------------------------------------------------


def test_a_folder_in_place_of_the_ledger_stops_no_other_command_and_is_removed(state: Path) -> None:
    directory = RunDirectory.of("r", state)
    directory.ledger.mkdir(parents=True)
    begun(state, "dead")
    assert run_names(state) == ["dead"]
    assert [one.run for one in run_client.dead_runs(state)] == ["dead"]
    assert [one.run for one in orphans.find(state, everywhere=False)] == ["dead"]
    run_client.down("r", state=state)
    assert not directory.path.exists()


def test_a_folder_in_place_of_the_lock_is_removed(state: Path) -> None:
    directory = begun(state)
    directory.lock.unlink()
    directory.lock.mkdir()
    assert [one.run for one in orphans.find(state, everywhere=False)] == ["r"]
    run_client.down("r", state=state)
    assert not directory.path.exists()


def test_a_file_in_place_of_the_directory_is_an_error(state: Path) -> None:
    (state / "r").write_text("mine")
    for missing_ok in (False, True):
        with pytest.raises(RunError, match="a file where the directory of run 'r' should be"):
            run_client.down("r", state=state, missing_ok=missing_ok)
    assert (state / "r").read_text() == "mine"


def test_a_record_without_a_pid_does_not_save_its_process(state: Path, proc: FakeProc) -> None:
    directory = begun(state)
    proc.add(10, mark_of(directory))
    Ledger(directory).append(record="process", what="nursery", kind="nursery")
    assert [one.processes for one in run_client.dead_runs(state)] == [()]
    run_client.down("r", state=state)
    assert (proc.killed, directory.path.exists()) == ([10], False)


def test_a_directory_with_files_that_no_run_makes_is_not_removed(state: Path) -> None:
    (state / "r").mkdir()
    (state / "r" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="there is no run 'r'"):
        run_client.down("r", state=state)
    directory = RunDirectory.of("r", state)
    for path in (directory.lock, directory.ledger):
        path.touch()
        with pytest.raises(RunError, match="files that no run makes: thesis.tex") as refused:
            run_client.down("r", state=state)
        path.unlink()
    assert refused.value.where == str(state / "r")
    assert (state / "r" / "thesis.tex").read_text() == "mine"


# --- how they are listed --------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "why"), [("lock", "lock"), ("ledger", "ledger")])
def test_a_lost_run_is_listed_once_with_what_it_has_lost(state: Path, proc: FakeProc, gone: str, why: str) -> None:
    directory = begun(state)
    proc.add(10, mark_of(directory))
    getattr(directory, gone).unlink()
    for everywhere in (False, True):
        found = orphans.find(state, everywhere=everywhere)
        assert [str(one) for one in found] == [f"r (has lost its {why}, 1 process)"]
    assert orphans.end(found[0]).run == "r"
    assert (orphans.find(state), proc.killed, directory.path.exists()) == ([], [10], False)


def test_a_run_without_a_lock_whose_processes_live_is_not_one_whose_holder_died(state: Path) -> None:
    directory = begun(state)
    with Children() as children:
        process = identified(children.start().pid)
        assert process is not None
        Ledger(directory).record_process(process, "nursery", "nursery")
        assert [one.run for one in run_client.dead_runs(state)] == ["r"]
        directory.lock.unlink()
        assert run_client.dead_runs(state) == []


def test_a_ledger_without_a_head_is_no_intact_one(state: Path, proc: FakeProc) -> None:
    directory = begun(state)
    mark = mark_of(directory)
    proc.add(10, mark)
    directory.ledger.write_text(json.dumps({"record": "process", "pid": 10, "start": 110}) + "\n")
    assert missing(directory, mark) == "ledger"
    run_client.down("r", state=state)
    assert (proc.killed, directory.path.exists()) == ([10], False)
