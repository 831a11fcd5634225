"""What stands in a ledger, and how real processes write themselves into it before they begin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hoverboard.contract.errors import RunError
from tests.unit.topologies.real_processes import Children, open_files
from tests.waiting import until
from topologies.processes.ledger import (
    Ledger,
    LostDirectoryError,
    cgroups,
    kill_all,
    live_processes,
    missing,
    remove_remains,
    sweep,
)
from topologies.processes.marks import VARIABLE, Mark
from topologies.processes.process_table import LinuxProcesses, Process, identified
from topologies.processes.run_directory import RunDirectory, RunLock

TABLE = LinuxProcesses()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    directory = RunDirectory.of("r", tmp_path)
    directory.path.mkdir()
    directory.lock.touch()
    made = Ledger(directory)
    made.create(TABLE)
    return made


def run(ledger: Ledger, *argv: str, what: str = "a shell", kind: str = "shell") -> subprocess.CompletedProcess[str]:
    return subprocess.run(ledger.command(list(argv), what, kind), capture_output=True, text=True, check=False)


# --- records --------------------------------------------------------------------------------------------


def test_a_ledger_begins_with_the_run_the_boot_and_where_it_was_started(ledger: Ledger) -> None:
    assert ledger.head() == {
        "record": "run", "version": 1, "run": "r", "mark": str(ledger.mark), "boot": TABLE.boot_id(),
        "netns": TABLE.own_namespace(), "uts": TABLE.own_host_name(), "mnt": TABLE.own_mounts(),
        "tree": str(ledger.directory.path), "pidns": os.stat("/proc/self/ns/pid").st_ino,
    }  # fmt: skip
    assert list(ledger.records()) == [ledger.head()]


def test_a_ledger_that_is_there_is_not_begun_again(ledger: Ledger) -> None:
    before = ledger.directory.ledger.read_text()
    with pytest.raises(FileExistsError):
        ledger.create(TABLE)
    assert ledger.directory.ledger.read_text() == before


def test_records_are_appended_as_lines_and_no_descriptor_stays_open(ledger: Ledger) -> None:
    before = open_files()
    ledger.append(record="restart", what="nursery", number=2)
    ledger.append(record="cgroup", path="/sys/fs/cgroup/x")
    assert open_files() == before
    lines = ledger.directory.ledger.read_text().splitlines()
    assert [json.loads(line) for line in lines[1:]] == [
        {"record": "restart", "what": "nursery", "number": 2},
        {"record": "cgroup", "path": "/sys/fs/cgroup/x"},
    ]
    assert cgroups(ledger) == [Path("/sys/fs/cgroup/x")]
    assert ledger.processes() == []


def test_a_record_cannot_be_appended_where_there_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Ledger(RunDirectory.of("none", tmp_path)).append(record="restart")
    assert list(tmp_path.iterdir()) == []


def test_lines_that_are_no_records_are_left_out(ledger: Ledger) -> None:
    with open(ledger.directory.ledger, "a", encoding="utf-8") as file:
        file.write('[1]\n7\n\n{"record":"process","pid":10,"start":100}\n{"record":"process","pid":11,"sta')
    assert len(list(ledger.records())) == 2
    (known,) = ledger.processes()
    assert (known.process, known.what, known.kind) == (Process(10, 100), "", "")


def test_a_ledger_without_a_head_belongs_to_no_boot(ledger: Ledger) -> None:
    ledger.directory.ledger.write_text("")
    ledger = Ledger(ledger.directory)
    ledger.record_process(Process(os.getpid(), 1), "me", "shell")
    assert ledger.head() == {}
    assert live_processes(ledger, TABLE) == []


# --- processes that record themselves -------------------------------------------------------------------


def test_a_process_records_itself_under_the_pid_and_start_time_that_it_keeps(ledger: Ledger) -> None:
    text = run(ledger, "/bin/cat", "/proc/self/stat", what='odd "name" of %s', kind="control").stdout
    pid, start = int(text.split()[0]), int(text.rpartition(")")[2].split()[19])
    (known,) = ledger.processes()
    assert (known.process, known.what, known.kind) == (Process(pid, start), 'odd "name" of %s', "control")


def test_arguments_arrive_as_they_are(ledger: Ledger) -> None:
    assert run(ledger, "/bin/echo", "a b", "$HOME", '"', "").stdout == 'a b $HOME " \n'


def test_a_run_that_is_being_taken_down_starts_no_process(ledger: Ledger) -> None:
    ledger.directory.closing.touch()
    ended = run(ledger, "/bin/echo", "hello")
    assert (ended.returncode, ended.stdout) == (125, "")
    assert len(ledger.processes()) == 1  # it stands in the ledger: a sweep that looks now finds it


def test_a_process_that_cannot_be_recorded_does_not_start(ledger: Ledger) -> None:
    command = ledger.command(["/bin/echo", "hello"], "a shell", "shell")
    shutil.rmtree(ledger.directory.path)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (125, "")


# --- the mark -------------------------------------------------------------------------------------------


def test_a_process_and_what_it_starts_carry_the_mark_of_the_run(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "of a run that we are in ourselves")
    said = run(ledger, "/bin/sh", "-c", f"/bin/sh -c 'echo ${VARIABLE}'").stdout.strip()
    assert Mark.parse(said) == ledger.mark == Ledger(ledger.directory).mark
    assert ledger.mark is not None
    assert ledger.mark.holder == identified(os.getpid())
    assert (ledger.mark.run, ledger.mark.directory) == ("r", ledger.directory.path)


@pytest.mark.parametrize(
    ("how", "lost"),
    [
        ("deleted", "ledger"), ("another run's", "directory"), ("spoiled", "ledger"), ("a folder", "ledger"),
        ("unlocked", "lock"),
    ],
)  # fmt: skip
def test_nothing_is_recorded_or_started_once_the_directory_is_not_intact(ledger: Ledger, how: str, lost: str) -> None:
    path = ledger.directory.ledger
    assert ledger.is_intact()
    assert missing(ledger.directory) is None
    (ledger.directory.lock if how == "unlocked" else path).unlink()
    if how == "another run's":
        Ledger(ledger.directory).create(TABLE)
    elif how == "spoiled":
        path.write_text("nothing\n")
    elif how == "a folder":
        path.mkdir()
    before = path.read_text() if path.is_file() else None
    assert not ledger.is_intact()
    assert missing(ledger.directory, ledger.mark) == lost
    with pytest.raises(LostDirectoryError, match=f"run 'r' has lost its {lost}"):
        ledger.append(record="restart")
    with pytest.raises(LostDirectoryError, match="hoverboard down --orphans"):
        ledger.command(["/bin/echo"], "a shell", "shell")
    assert (path.read_text() if path.is_file() else None) == before


@pytest.mark.parametrize("change", ["rm", "folder", "file"])
def test_a_ledger_that_is_gone_has_no_records(ledger: Ledger, change: str) -> None:
    ledger.directory.ledger.unlink()
    if change == "folder":
        ledger.directory.ledger.mkdir()
    elif change == "file":
        ledger.directory.lock.unlink()
        ledger.directory.path.rmdir()
        ledger.directory.path.touch()
        assert missing(ledger.directory) == "directory"
    assert (list(ledger.records()), ledger.processes(), cgroups(ledger)) == ([], [], [])
    assert live_processes(ledger, TABLE) == []


def test_records_that_were_damaged_are_left_out(ledger: Ledger) -> None:
    ledger.record_process(Process(10, 100), "control plane", "control")
    for record in ({"record": "process", "start": 1}, {"record": "process", "pid": [], "start": 1}):
        ledger.append(**record)
    ledger.append(record="process", pid="ten", start=3)
    ledger.append(record="cgroup")
    assert [record.process.pid for record in ledger.processes()] == [10]
    assert cgroups(ledger) == []


def test_the_rest_of_a_lost_run_is_removed_unless_another_run_has_the_directory(ledger: Ledger) -> None:
    directory, mark = ledger.directory, ledger.mark
    assert mark is not None
    held = RunLock.try_take(directory, create=True)
    assert held is not None
    remove_remains(directory, mark)
    assert directory.ledger.exists()
    held.release()
    remove_remains(directory, mark._replace(id="another"))
    assert directory.ledger.exists()
    directory.lock.unlink()
    remove_remains(directory, mark)
    assert not directory.path.exists()
    remove_remains(directory, mark)
    assert not directory.path.exists()


def test_files_that_no_run_makes_are_not_removed_without_a_ledger(ledger: Ledger) -> None:
    mark = ledger.mark
    assert mark is not None
    (ledger.directory.path / "thesis.tex").write_text("mine")
    ledger.directory.ledger.unlink()
    with pytest.raises(RunError, match="files that no run makes: thesis.tex"):
        remove_remains(ledger.directory, mark)
    assert (ledger.directory.path / "thesis.tex").read_text() == "mine"


def test_a_run_of_an_older_version_has_no_mark(ledger: Ledger) -> None:
    ledger.directory.ledger.write_text('{"record":"run","version":1,"run":"r","boot":"b"}\n')
    older = Ledger(ledger.directory)
    assert (older.mark, older.is_intact()) == (None, False)
    older.append(record="restart")
    assert run(older, "/bin/sh", "-c", f"echo ${VARIABLE}").stdout == "\n"
    assert Ledger(RunDirectory.of("none", ledger.directory.path)).mark is None


def test_real_processes_of_a_run_are_found_and_killed_and_others_are_not(ledger: Ledger) -> None:
    with Children() as children:
        other = children.start()
        mine = [children.start(*ledger.command(["/bin/sleep", "60"], f"sleeper {n}", "switch")) for n in range(2)]
        until(lambda: len(ledger.processes()) == 2)
        waiting = children.start()  # one that cannot record itself
        process = identified(waiting.pid)
        assert process is not None
        ledger.record_process(process, "host process", "host")
        ledger.record_process(Process(other.pid, 1), "an old one, its pid used again", "host")
        assert {known.process.pid for known in live_processes(ledger, TABLE)} == {
            child.pid for child in (*mine, waiting)
        }
        assert sorted(kill_all(ledger.directory)) == ["host process", "sleeper 0", "sleeper 1"]
        assert [child.wait(10) for child in (*mine, waiting)] == [-9, -9, -9]
        assert other.poll() is None
        assert sweep(ledger.directory) == []
        assert not ledger.directory.path.exists()
