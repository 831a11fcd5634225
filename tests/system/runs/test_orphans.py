"""Runs that nobody holds or finds any more: killed holders, deleted directories. What is theirs is ended, no more."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.holders import holder_process
from tests.waiting import until
from topologies.client import orphans, run_client
from topologies.namespaces import netns
from topologies.processes import marks
from topologies.processes.deadlines import wait_for
from topologies.processes.launcher import Launcher
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.marks import Mark
from topologies.processes.process_table import LinuxProcesses, Process
from topologies.processes.run_directory import RunDirectory, RunLock, run_names

_SECONDS = 120.0
COMMAND = [sys.executable, "-P", "-m", "console.cli"]


def hoverboard(*words: str) -> subprocess.CompletedProcess[str]:
    """The command, as a person calls it."""
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode in (0, 3), done.stderr
    return done


def doctor() -> dict[str, str]:
    """What the doctor finds, by name."""
    return {line["name"]: line["detail"] for line in json.loads(hoverboard("doctor", "--json").stdout)["lines"]}


def up(run: str) -> None:
    assert hoverboard("up", "two-hosts", "--run", run, "--detach").returncode == 0


def processes(run: str) -> set[Process]:
    """All of a run that live, its holder not counted."""
    book = Ledger(RunDirectory.of(run))
    return {one.process for one in live_processes(book, LinuxProcesses()) if one.kind != "holder"}


def holder_of(run: str) -> Process:
    found = holder_process(run)
    assert found is not None
    return found


@pytest.fixture
def lost(state: Path, run_name: str) -> Iterator[str]:
    """A run whose directory the test may delete: it is ended all the same."""
    yield run_name
    for one in orphans.lost_runs():
        if one.run == run_name:
            orphans.end(one)


@pytest.mark.rootless
def test_after_kill_9_of_an_experiment_the_next_command_says_what_is_left_and_how_to_end_it(state: Path) -> None:
    words = [*COMMAND, "experiment", "run", "latency", "--quick", "--out", str(state / "results")]
    experiment = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(
            lambda: any(len(processes(one)) > 3 for one in run_names(state)) or experiment.poll() is not None, 60.0,
            lambda: "the experiment brings nothing up",
        )  # fmt: skip
        assert experiment.poll() is None
    finally:
        experiment.kill()
        experiment.wait()
    (run,) = run_names(state)
    left = processes(run)
    said = hoverboard("status")
    assert f"orphaned: {run} (its holder died, " in said.stderr
    assert "hoverboard down --orphans" in said.stderr
    assert json.loads(hoverboard("down", "--orphans", "--run", run, "--json").stdout) == {"down": [run]}
    assert (processes_alive(left), run_names(state)) == (set(), [])
    assert "orphaned" not in hoverboard("status").stderr


def processes_alive(found: set[Process]) -> set[Process]:
    return {process for process in found if LinuxProcesses().alive(process)}


def test_a_run_without_its_directory_is_found_and_ended_and_one_of_the_same_name_beside_it_is_not(
    state: Path, lost: str
) -> None:
    up(lost)
    directory, holder, first = RunDirectory.of(lost, state), holder_of(lost), processes(lost)
    with run_client.RunClient(lost) as line:
        vm = line.pid_of("blue-1")
    inside = subprocess.Popen(["mnexec", "-a", str(vm), "sleep", "infinity"])
    try:
        until(lambda: os.readlink(f"/proc/{inside.pid}/ns/net") == os.readlink(f"/proc/{vm}/ns/net"), 10, "not inside")
        inode = LinuxProcesses().namespace(Process(vm, next(one.start for one in first if one.pid == vm)))
        shutil.rmtree(directory.path)
        found = re.search(rf"{lost} \(has lost its directory, (\d+) processes\)", doctor()["lost runs"])
        assert found is not None
        assert int(found[1]) >= len(first) + 1  # what its processes have started themselves is not in its ledger
        # The kernel may give the number of a namespace that is gone to the next one.
        members = set(LinuxProcesses().members({inode} if inode is not None else set()))
        assert inside.pid in {one.pid for one in members}
        up(lost)
        second = processes(lost)
        ended = hoverboard("down", "--orphans", "--run", lost, "--json")
        assert (json.loads(ended.stdout), ended.stderr) == ({"down": [lost]}, "")
        assert inside.wait(5.0) == -signal.SIGKILL
        assert processes_alive(first | members | {holder}) == set()
        assert lost not in doctor()["lost runs"]
        # The other one has not noticed.
        assert processes_alive(second) == second
        with run_client.RunClient(lost) as line:
            status = line.status()
        assert (status["state"], status["supervision"]["restarts"], status["supervision"]["down"]) == ("up", 0, 0)
        assert hoverboard("exec", "blue-1", "--run", lost, "--", "ping", "-c1", "-W2", "10.0.0.1").returncode == 0
    finally:
        inside.kill()
        inside.wait()
    assert hoverboard("down", "--run", lost).returncode == 0
    assert processes_alive(second) == set()


def test_a_run_without_its_directory_and_without_its_holder_is_ended(state: Path, lost: str) -> None:
    up(lost)
    holder, mine = holder_of(lost), processes(lost)
    shutil.rmtree(state / lost)
    os.kill(holder.pid, signal.SIGKILL)
    assert f"orphaned: {lost} (has lost its directory, " in hoverboard("status").stderr
    assert json.loads(hoverboard("down", "--orphans", "--run", lost, "--json").stdout) == {"down": [lost]}
    assert processes_alive(mine) == set()


@pytest.mark.parametrize(
    ("gone", "words"), [("lock", ["down"]), pytest.param("lock", ["down", "--orphans"], marks=pytest.mark.long),
                        pytest.param("ledger.jsonl", ["down"], marks=pytest.mark.long)],
)  # fmt: skip
def test_a_run_whose_lock_or_ledger_is_gone_is_named_once_and_ended_with_its_holder(
    state: Path, lost: str, tiny: Path, gone: str, words: list[str]
) -> None:
    assert hoverboard("up", str(tiny), "--run", lost, "--detach").returncode == 0
    holder, mine = holder_of(lost), processes(lost)
    (state / lost / gone).unlink()
    said = hoverboard("status", "--run", lost)
    assert said.stderr.count(f"{lost} (has lost its {gone.partition('.')[0]}, ") == 1
    assert said.stderr.count(f"{lost} (") == 1
    ended = hoverboard(*words, "--run", lost, "--json")
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"down": [lost]})
    assert processes_alive(mine) == set()
    assert LinuxProcesses().wait_gone([holder], 10.0) == []
    assert not (state / lost).exists()
    assert lost not in {one.run for one in orphans.find(state)}  # other tests have lost runs, too


def test_a_program_that_holds_a_run_whose_directory_is_gone_notices_by_itself(state: Path, lost: str) -> None:
    up(lost)
    holder, mine = holder_of(lost), processes(lost)
    records = live_processes(Ledger(RunDirectory.of(lost)), LinuxProcesses())
    control = next(one.process for one in records if one.kind == "control")
    shutil.rmtree(state / lost)
    os.kill(control.pid, signal.SIGKILL)
    assert LinuxProcesses().wait_gone([holder, *mine], 30.0) == []


def test_devices_are_found_in_a_namespace_that_only_a_file_keeps(state: Path, lost: str) -> None:
    directory = RunDirectory.of(lost, state)
    lock = RunLock.try_take(directory, create=True)
    assert lock is not None
    ledger = Ledger(directory)
    ledger.create(LinuxProcesses())
    assert ledger.mark is not None
    launcher = Launcher(ledger)
    child = launcher.namespace("blue-1")
    netns.write_mark(child.pid, str(ledger.mark))
    assert Mark.parse(netns.read_mark(child.pid)) == ledger.mark
    assert netns.read_mark(os.getpid()) == ""
    file = Path("/run/netns") / lost
    subprocess.run(["ip", "netns", "attach", lost, str(child.pid)], check=True)
    try:
        with netns.entered(file):
            subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"], check=True)
        child.kill()
        launcher.reap(5.0)
        lock.release()
        shutil.rmtree(directory.path)
        (found,) = [one for one in orphans.lost_runs() if one.run == lost]
        assert found.processes == 0
        assert marks.end(ledger.mark) == 0
        with netns.entered(file):
            left = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        assert [line.split(": ")[1] for line in left.splitlines()] == ["lo"]
        assert lost not in {one.run for one in orphans.lost_runs()}
    finally:
        subprocess.run(["ip", "netns", "del", lost], check=True)
