"""The kernel's process table, held against real children of the test."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.topologies.real_processes import Children, open_files
from tests.waiting import until
from topologies.processes.process_table import LinuxProcesses, Process, cpu_seconds, identified, start_time

START = 1_000_003.0
TABLE = LinuxProcesses()
NEVER = Process((1 << 22) + 1, 1)  # above the highest pid there can be


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


def process_of(child: subprocess.Popen[bytes]) -> Process:
    found = identified(child.pid)
    assert found is not None
    return found


def zombie(children: Children) -> Process:
    """A process that has ended and whose parent has not waited for it."""
    child = children.start()
    process = process_of(child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return process


def gone(children: Children) -> Process:
    """A process that has ended and is forgotten."""
    child = children.start()
    process = process_of(child)
    child.kill()
    child.wait()
    return process


def later(process: Process) -> Process:
    """Another process that has the same pid at another time."""
    return Process(process.pid, process.start + 1)


def test_cpu_time_is_counted_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a (b) c) R {' '.join(map(str, range(4, 60)))}\n")
    ticks = os.sysconf("SC_CLK_TCK")
    assert cpu_seconds(7, tmp_path) == (14 + 15) / ticks
    assert cpu_seconds(8, tmp_path) == cpu_seconds(None) == 0.0
    before = cpu_seconds(os.getpid())
    until(lambda: cpu_seconds(os.getpid()) > before, 20.0, "our own work is not counted")


# --- who is who -----------------------------------------------------------------------------------------


def test_a_process_is_known_by_pid_and_start_time(children: Children) -> None:
    child = children.start()
    process = process_of(child)
    ticks = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]  # field 22
    assert process == Process(child.pid, int(ticks))
    assert start_time(child.pid) == process.start
    assert identified(None) is None
    assert identified(NEVER.pid) is None


def test_a_process_name_may_have_brackets_and_blanks(children: Children, tmp_path: Path) -> None:
    odd = tmp_path / "a) Z 1 (b"
    odd.symlink_to("/bin/sleep")
    child = children.start(odd, "60")
    until(lambda: "a) Z 1 (b" in Path(f"/proc/{child.pid}/stat").read_text())
    assert TABLE.alive(process_of(child))


def test_a_zombie_and_what_is_gone_do_not_run(children: Children) -> None:
    for process in (zombie(children), gone(children), NEVER):
        assert start_time(process.pid) is None
        assert identified(process.pid) is None
        assert not TABLE.alive(process)


def test_a_process_that_ends_while_it_is_looked_at_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: Path) -> str:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(Path, "read_text", ended)
    assert start_time(os.getpid()) is None


def test_a_pid_that_was_used_again_is_another_process(children: Children) -> None:
    process = process_of(children.start())
    assert TABLE.alive(process)
    assert not TABLE.alive(later(process))


def test_a_boot_has_a_name() -> None:
    name = TABLE.boot_id()
    assert name == name.strip() == LinuxProcesses().boot_id()
    assert len(name) == 36


# --- network namespaces ---------------------------------------------------------------------------------


def test_a_child_is_in_our_own_namespace(children: Children) -> None:
    process = process_of(children.start())
    assert TABLE.own_namespace() == os.stat(f"/proc/{os.getpid()}/ns/net").st_ino
    assert TABLE.namespace(process) == TABLE.own_namespace()
    assert TABLE.own_host_name() == os.stat(f"/proc/{os.getpid()}/ns/uts").st_ino
    assert TABLE.own_mounts() == os.stat(f"/proc/{os.getpid()}/ns/mnt").st_ino
    before = open_files()
    with contextlib.ExitStack() as stack:
        assert TABLE.hold(process, stack) == {TABLE.own_namespace(), TABLE.own_host_name(), TABLE.own_mounts()}
        assert len(open_files()) == len(before) + 3
        assert TABLE.hold(later(process), stack) == TABLE.hold(NEVER, stack) == set()
    assert open_files() == before
    assert TABLE.namespace(later(process)) is None
    for other in (zombie(children), gone(children), NEVER):
        assert TABLE.namespace(other) is None


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_a_process_that_may_not_be_looked_into_is_in_no_namespace(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    myself = process_of_pid(os.getpid())

    def refuse(path: str) -> os.stat_result:
        raise error(1, "no", path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", refuse)
        assert TABLE.namespace(myself) is None
        with contextlib.ExitStack() as stack:
            assert TABLE.hold(myself, stack) == set()


def process_of_pid(pid: int) -> Process:
    found = identified(pid)
    assert found is not None
    return found


def test_the_members_of_a_namespace_are_the_processes_in_it_that_run(children: Children) -> None:
    process, ended = process_of(children.start()), zombie(children)
    members = list(TABLE.members({TABLE.own_namespace()}))
    assert process in members
    assert process in TABLE.members({TABLE.own_host_name()})
    assert process in TABLE.members({TABLE.own_mounts()})
    assert process_of_pid(os.getpid()) in members
    assert ended.pid not in {member.pid for member in members}
    assert list(TABLE.members({1})) == []


def test_a_process_that_ended_before_it_was_looked_at_may_have_started_another(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = process_of(children.start())
    looks = [["1", "net", str(NEVER.pid)], [str(NEVER.pid), str(process.pid)], ["9"]]

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda path: looks.pop(0))
        assert list(TABLE.members({TABLE.own_namespace()}))[-1] == process
    assert looks == [["9"]]


# --- signals --------------------------------------------------------------------------------------------


def test_exactly_the_process_that_is_meant_gets_the_signal(children: Children) -> None:
    before = open_files()
    child, other = children.start(), children.start()
    TABLE.send(later(process_of(child)), signal.SIGKILL)
    TABLE.send(gone(children), signal.SIGKILL)
    TABLE.send(NEVER, signal.SIGKILL)
    assert child.poll() is None
    TABLE.send(process_of(child), signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    assert other.poll() is None
    assert open_files() == before


def test_a_process_that_ends_just_before_the_signal_is_no_error(children: Children) -> None:
    child = children.start()
    process = process_of(child)

    class Late(LinuxProcesses):
        """The process ends, and is forgotten, after it was found to be alive."""

        def alive(self, process: Process) -> bool:
            child.kill()
            child.wait()
            return True

    before = open_files()
    Late().send(process, signal.SIGTERM)
    assert open_files() == before


def test_a_descriptor_of_a_process_is_readable_once_it_has_ended(children: Children) -> None:
    child = children.start()
    before = open_files()
    for other in (later(process_of(child)), zombie(children), gone(children), NEVER):
        assert TABLE.open(other) is None
    assert open_files() == before
    fd = TABLE.open(process_of(child))
    assert fd is not None
    assert select.select([fd], [], [], 0)[0] == []
    child.kill()
    assert select.select([fd], [], [], 10)[0] == [fd]
    os.close(fd)


# --- waiting for the end --------------------------------------------------------------------------------


def test_what_has_ended_is_not_waited_for(children: Children) -> None:
    running = process_of(children.start())
    assert TABLE.wait_gone([], 10.0) == []
    assert TABLE.wait_gone([zombie(children), gone(children), NEVER, later(running)], 10.0) == []


def test_the_end_of_each_is_waited_for(children: Children) -> None:
    started = [children.start() for _ in range(3)]
    processes = [process_of(child) for child in started]
    before = open_files()
    waiting = threading.Thread(target=lambda: left.extend(TABLE.wait_gone(processes, 10.0)))
    left: list[Process] = []
    waiting.start()
    for child in started:
        assert waiting.is_alive()
        child.kill()
    waiting.join(10)
    assert (waiting.is_alive(), left) == (False, [])
    assert open_files() == before


def test_what_has_not_ended_in_time_is_named(children: Children) -> None:
    stays, ends = children.start(), children.start()
    processes = [process_of(stays), process_of(ends)]
    before = open_files()
    ends.kill()
    assert TABLE.wait_gone(processes, 0.05) == [processes[0]]
    assert TABLE.wait_gone(processes, 0.0) == [processes[0]]
    assert open_files() == before


def test_who_waits_does_so_in_the_kernel_and_not_in_turns(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Poll:
        """A poll that finds nothing, and says for how long it was to look (milliseconds)."""

        def register(self, fd: int, events: int) -> None:
            assert events == select.POLLIN

        def poll(self, timeout: float) -> list[tuple[int, int]]:
            waits.append(timeout)
            return []

    monkeypatch.setattr(select, "poll", Poll)
    process = process_of(children.start())
    looks = iter([0.0, 0.0, 4.0, 9.5, 10.0])
    assert LinuxProcesses(lambda: START + next(looks)).wait_gone([process], 10.0) == [process]
    assert waits == [10_000, 6_000, 500]
