"""Memory and CPU of processes and of a window of time, from texts of /proc that are made up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from experiments.observe import cpu_window, run_cost
from experiments.observe.cpu_window import ProcessTime, Reading
from experiments.observe.run_cost import RunProcess, Share
from topologies.processes.process_table import Process

TICK = os.sysconf("SC_CLK_TCK")
STAT = "cpu  100 20 300 4000 50 6 70 80 9 1\ncpu0 1 1 1 1 1 1 1 1 1 1\n"


def stat(pid: int, ticks: tuple[int, int], parent: int = 7, flags: int = 0x400000) -> str:
    """/proc/PID/stat of a process whose name has blanks and brackets."""
    return f"{pid} (a) b) S {parent} 42 42 0 -1 {flags} 100 0 0 0 {ticks[0]} {ticks[1]} 3 4 20 0 1 0 12345 1000 200"


def test_pss_of_a_rollup() -> None:
    rollup = "00400000-7ffe000 ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:  4096 kB\nPss_Anon:  1 kB\n"
    assert run_cost.parse_pss(rollup) == 4 * 2**20
    assert run_cost.parse_pss("") == 0


def test_ticks_are_user_and_system_time() -> None:
    assert run_cost.parse_ticks(stat(42, (17, 25))) == 42


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of its own."""

    def place(path: str) -> Path:
        return tmp_path / path.removeprefix("/proc").lstrip("/")

    for module in (run_cost, cpu_window):
        monkeypatch.setattr(module, "Path", place)
    monkeypatch.setattr(cpu_window.os, "listdir", lambda path: [one.name for one in os.scandir(place(path))])
    return tmp_path


def process(proc: Path, pid: int, ticks: tuple[int, int], pss: int = 0, **settings: int) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(stat(pid, ticks, **settings))
    (proc / str(pid) / "smaps_rollup").write_text(f"Pss: {pss} kB\n")


def test_shares_are_summed_up_by_what_a_process_is(proc: Path) -> None:
    process(proc, 1, (TICK, 0), pss=10)
    process(proc, 2, (TICK, 2 * TICK), pss=20)
    process(proc, 3, (0, 0), pss=5)
    members = [
        RunProcess(Process(1, 0), "host process"), RunProcess(Process(2, 0), "host process"),
        RunProcess(Process(3, 0), "holder"),
        RunProcess(Process(99, 0), "host process"),
    ]  # fmt: skip
    assert run_cost.shares(members) == {
        "host process": Share(2, 30 * 1024, 4.0), "holder": Share(1, 5 * 1024, 0.0),
    }  # fmt: skip


def test_members_of_a_run_are_what_lives_of_its_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        type("Record", (), {"process": Process(pid, 1), "what": what})
        for pid, what in ((1, "ovs-vswitchd of h1"), (2, "fabric-manager"))
    ]
    asked: list[Any] = []
    monkeypatch.setattr(run_cost, "existing", lambda run: f"directory of {run}")
    monkeypatch.setattr(run_cost.ledger, "Ledger", lambda directory: directory)
    monkeypatch.setattr(run_cost.ledger, "live_processes", lambda book, processes: (asked.append(book), records)[1])
    assert run_cost.run_processes("name") == [
        RunProcess(Process(1, 1), "ovs-vswitchd"), RunProcess(Process(2, 1), "fabric-manager"),
    ]  # fmt: skip
    assert asked == ["directory of name"]


def test_cpu_counts_what_lived_through_the_whole_time() -> None:
    before = {"host process": Share(2, 100, 1.0), "gone": Share(1, 1, 7.0)}
    after = {"host process": Share(2, 120, 1.5), "holder": Share(1, 10, 9.0)}
    assert run_cost.cpu_percent(before, after, 10.0) == {"host process": 5.0}


def test_busy_is_neither_idle_nor_stolen() -> None:
    busy, softirq, steal = cpu_window.parse_cpu(STAT)
    assert busy * TICK == pytest.approx(100 + 20 + 300 + 6 + 70)
    assert softirq * TICK == pytest.approx(70)
    assert steal * TICK == pytest.approx(80)


@pytest.mark.parametrize(("flags", "kernel"), [(2_097_216, True), (0x400000, False)])
def test_a_process_and_whether_it_is_the_kernel_s(flags: int, kernel: bool) -> None:
    found = cpu_window.parse_process(stat(42, (17, 25), flags=flags))
    assert found.cpu_seconds * TICK == pytest.approx(42)
    assert (found.parent, found.kernel) == (7, kernel)


def test_a_reading_is_of_the_machine_and_all_its_processes(proc: Path) -> None:
    (proc / "stat").write_text(STAT)
    (proc / "self").mkdir()
    (proc / "17").mkdir()  # it ends as we look
    process(proc, 3, (TICK, TICK), parent=1)
    found = cpu_window.read()
    assert (found.busy * TICK, found.softirq * TICK, found.steal * TICK) == pytest.approx((496, 70, 80))
    assert found.processes == {3: ProcessTime(2.0, 1, False)}


def test_what_strangers_did_is_no_cost() -> None:
    before = Reading(100.0, 10.0, 1.0, {
        1: ProcessTime(5.0, 0, False),  # a stranger
        2: ProcessTime(5.0, 0, True),  # a thread of the kernel's
        3: ProcessTime(5.0, 0, False),  # ours
        5: ProcessTime(5.0, 0, False),  # a stranger that ends
        6: ProcessTime(5.0, 0, False),  # ours, and idle
    })  # fmt: skip
    after = Reading(110.0, 12.0, 2.5, {
        1: ProcessTime(8.0, 0, False),
        2: ProcessTime(6.0, 0, True),
        3: ProcessTime(7.0004, 0, False),
        4: ProcessTime(1.0, 3, False),  # began in the window
        6: ProcessTime(5.0, 0, False),
    })  # fmt: skip
    members = [
        RunProcess(Process(pid, 0), what) for pid, what in ((3, "host process"), (2, "host process"), (6, "holder"))
    ]
    found = cpu_window.cost(before, after, {3, 4, 6}, [*members, RunProcess(Process(99, 0), "gone")])
    assert (found.cpu_seconds, found.others, found.softirq, found.steal) == (7.0, 3.0, 2.0, 1.5)
    assert found.by_kind == {"host process": 3.0}


def test_descendants() -> None:
    tree = {pid: ProcessTime(0.0, parent, False) for pid, parent in ((2, 1), (3, 2), (4, 3), (5, 1), (6, 6))}
    assert cpu_window.descendants(tree, 2) == {2, 3, 4}
    assert cpu_window.descendants(tree, 6) == {6}
    assert cpu_window.descendants(tree, 9) == {9}
