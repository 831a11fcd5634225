"""What carries a run's mark is found in a /proc of the test's own, and exactly that is ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hoverboard.contract.errors import RunError
from tests.unit.topologies.processes.fake_proc import FakeProc
from tests.unit.topologies.real_processes import Children
from tests.waiting import until
from topologies.processes import marks
from topologies.processes.marks import Machine, Mark, Marked
from topologies.processes.process_table import Process

RED = Mark("aa", Process(50, 150), Path("/run/hoverboard/red"))
BLUE = Mark("bb", Process(60, 160), Path("/run/hoverboard/blue"))


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


def test_a_mark_says_which_run_of_which_holder_it_is() -> None:
    one, other = Mark.of(Path("/run/hoverboard/demo")), Mark.of(Path("/run/hoverboard/demo"))
    assert (one.run, one.holder, one.directory) == (other.run, other.holder, other.directory)
    assert one.id != other.id  # a second run of that name is another one
    assert Mark.parse(str(one)) == one


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
@example("")
@example("a:1:2")
@example("a:x:2:/run/r")
@example("a:1::/run/r")
def test_any_text_is_a_mark_or_none(text: str) -> None:
    mark = Mark.parse(text)
    assert mark is None or Mark.parse(str(mark)) == mark
    assert Mark.parse("a:1:2:/run/with:colon") == Mark("a", Process(1, 2), Path("/run/with:colon"))


def test_processes_are_found_by_their_environment_and_no_others(proc: FakeProc) -> None:
    mine, theirs = [proc.add(10, RED), proc.add(11, RED)], proc.add(20, BLUE)
    proc.add(30)
    proc.add(31, "no mark at all")
    proc.add(32, RED, user=0)  # of another user
    assert proc.machine.look() == {RED: Marked(set(mine)), BLUE: Marked({theirs})}


def test_what_is_in_a_marked_namespace_belongs_to_the_run(proc: FakeProc) -> None:
    proc.marks = {77: str(RED), 78: str(BLUE), 79: "somebody else's alias"}
    holder, shell = proc.add(10, RED, namespace=77), proc.add(11, namespace=77)
    other = proc.add(20, namespace=78)
    proc.add(30, namespace=79)
    proc.add(31, namespace=77, user=0)
    assert proc.machine.look() == {RED: Marked({holder, shell}), BLUE: Marked({other})}
    assert proc.machine.look(namespaces=False) == {RED: Marked({holder})}


def test_the_machines_own_namespace_belongs_to_no_run(proc: FakeProc) -> None:
    proc.marks = {1: str(RED)}
    proc.add(10)
    assert proc.machine.look() == {}


def test_a_namespace_that_only_a_file_keeps_is_found(proc: FakeProc) -> None:
    path = proc.name("mine", RED)
    proc.name("other", "")
    assert proc.machine.look() == {RED: Marked(set(), [path])}


def test_a_process_that_ends_while_we_look_is_none(proc: FakeProc) -> None:
    for pid, missing in ((10, "status"), (11, "stat"), (12, "environ"), (13, "ns/net")):
        proc.add(pid, RED)
        (proc.proc / str(pid) / missing).unlink()
    (proc.proc / "14").mkdir()
    assert proc.machine.look() == {RED: Marked({Process(13, 113)})}


def test_exactly_what_is_marked_is_ended(proc: FakeProc) -> None:
    proc.marks = {77: str(RED), 78: str(BLUE)}
    for pid, mark, namespace in (
        (10, RED, 77),
        (11, None, 77),
        (12, RED, 1),
        (20, BLUE, 78),
        (21, None, 78),
        (30, None, 1),
    ):
        proc.add(pid, mark, namespace=namespace)
    path = proc.name("mine", RED)
    proc.name("other", BLUE)
    assert marks.end(RED, proc.machine, proc, proc.clear) == 3
    assert (sorted(proc.killed), proc.cleared) == ([10, 11, 12], [path])
    assert {int(one.name) for one in proc.proc.iterdir() if one.name.isdigit()} == {1, 20, 21, 30}
    assert marks.end(RED, proc.machine, proc, proc.clear) == 0


def test_what_was_forked_while_we_looked_is_ended_too(proc: FakeProc) -> None:
    proc.add(10, RED)
    proc.on_kill = lambda pid: proc.add(pid + 1, RED) if pid < 13 else None
    assert marks.end(RED, proc.machine, proc, proc.clear) == 4
    assert proc.killed == [10, 11, 12, 13]


def test_a_process_that_forks_without_end_is_reported(proc: FakeProc) -> None:
    proc.add(10, RED)
    proc.on_kill = lambda pid: proc.add(pid + 1, RED)
    with pytest.raises(RunError, match="faster than they are killed"):
        marks.end(RED, proc.machine, proc, proc.clear)


def test_a_survivor_is_named(proc: FakeProc) -> None:
    proc.add(10, RED)
    proc.immortal = {10}
    with pytest.raises(RunError, match=r"still alive 0\.1 s after SIGKILL: pid 10"):
        marks.end(RED, proc.machine, proc, proc.clear, timeout=0.1)


def test_who_ends_a_run_is_not_ended(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks.os, "getpid", lambda: 10)
    proc.add(10, RED)
    proc.add(11, RED)
    assert marks.end(RED, proc.machine, proc, proc.clear) == 1
    assert proc.killed == [11]


def test_on_this_machine_a_process_and_what_it_forks_are_ended_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Children() as children:
        other = children.start()
        mark = Mark.of(tmp_path)
        monkeypatch.setenv(marks.VARIABLE, str(mark))
        mine = children.start("/bin/sh", "-c", "/bin/sleep 60 & wait")
        monkeypatch.delenv(marks.VARIABLE)
        until(lambda: len(Machine().look(namespaces=False).get(mark, Marked()).processes) == 2)
        assert marks.end(mark) == 2
        assert mine.wait(5.0) in (-9, 0)  # a shell ends by itself when its child is killed first
        assert other.poll() is None
