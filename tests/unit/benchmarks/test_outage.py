"""The outage benchmark: datagrams over the loopback, who is killed, figures, bars, tables."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import outage
from benchmarks.outage import CASES, CONTROL, Outage, WatchedFlow, bars, figures_of, options, shown
from hoverboard.contract.errors import RunError
from tests.unit.experiments.fake_testbed import FakeTestbed


def test_a_gap_is_between_arrivals_and_a_loss_is_what_never_came() -> None:
    with socket.socket() as unused:
        flow = WatchedFlow(unused, unused, sent=10)
        flow.arrived = [(0, 1.0), (1, 1.1), (4, 1.5), (5, 1.6), (5, 1.6), (6, 1.7), (7, 1.8), (8, 1.9)]
        gap, lost = flow.outage(1)
        assert gap == pytest.approx(400.0)
        assert lost == 3  # 2, 3 and 9
        assert flow.outage(9) == (30_000.0, 1)  # nothing came: as long as is waited
        assert flow.outage(0)[1] == 3


def test_bars_hold_losses_where_the_host_process_lives_and_gaps_where_it_died() -> None:
    outages = {case: [Outage(5.0, 0, 0.3), Outage(1_200.0, 2, 0.4)] for case in CASES}
    figures = figures_of({"fastpath": outages, "ovs": outages})
    found = {bar.what: (bar.value, bar.sense, bar.limit, bar.passed) for bar in bars(figures)}
    assert found["ovs-vswitchd killed: most packets lost"] == (2.0, "<=", 0, False)
    assert found["host process killed: longest gap"] == (1_200.0, "<", 1_000.0, False)
    assert len(found) == len(CASES), "the ovs generation has no bar"
    assert all(bar.passed for bar in bars(figures_of({"fastpath": {"everything": [Outage(200.0, 40, 3.0)]}})))
    assert all(bar.passed for bar in bars(figures_of({"fastpath": {CONTROL: [Outage(9_000.0, 0, 3.0)]}})))


def test_tables_have_medians_and_the_worst() -> None:
    figures = figures_of({"ovs": {CONTROL: [Outage(5.0, 0, 0.25), Outage(11.0, 4, 0.75)]}})
    (table,) = shown(figures)
    assert [list(column.cells) for column in table.columns] == [
        [CONTROL], ["2"], ["8"], ["11"], ["2"], ["4"], ["0.50"],
    ]  # fmt: skip
    assert str(table.title).startswith("ovs: known flows at 1,000 packets")


def test_there_is_a_round() -> None:
    assert (options([]).rounds, options([]).dataplane, options([]).case) == (3, None, None)
    chosen = options(["--dataplane", "ovs", "--case", "everything", "--case", CONTROL])
    assert (chosen.dataplane, chosen.case) == (["ovs"], ["everything", CONTROL])


def test_datagrams_are_numbered_and_what_is_under_way_at_the_end_still_counts() -> None:
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in "sr"]
        ends[1].bind(("127.0.0.1", 0))
        flow, ended = WatchedFlow(*ends), threading.Event()
        receiving = threading.Thread(target=flow.receive, args=(ended,))
        sending = threading.Thread(target=flow.send, args=(ended,))
        receiving.start()
        sending.start()
        waiting = threading.Event()
        for _ in range(4_000):
            if len(flow.arrived) >= 5:
                break
            waiting.wait(0.005)
        ended.set()
        sending.join(20)
        receiving.join(20)
    assert [number for number, _ in flow.arrived] == list(range(flow.sent))
    assert [when for _, when in flow.arrived] == sorted(when for _, when in flow.arrived)


class Run:
    """A run in which all comes back at the second look; two flows that go on all along."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.killed: list[int] = []
        self.at, self.restarts, self.beds = 1_000_003.0, 3, 0
        monkeypatch.setattr(outage, "Testbed", self._testbed)
        monkeypatch.setattr(outage.os, "kill", self._kill)
        monkeypatch.setattr(outage, "_flows", self._flows)
        monkeypatch.setattr(outage, "time", SimpleNamespace(monotonic=lambda: self.at))
        monkeypatch.setattr(outage, "pause", lambda seconds: None)
        monkeypatch.setattr(outage, "wait_for", self._wait_for)

    @contextlib.contextmanager
    def _testbed(self, topology: Any, run: str) -> Iterator[Any]:
        self.beds += 1
        bed = FakeTestbed(topology, {"run": run})
        bed.standing = [("blue-1", "blue-2"), ("blue-2", "blue-1")]
        switch = {"programmed": True, "agent": True}
        bed.control = {
            "pid": 11, "restarts": 1, "state": "up", "switches": dict.fromkeys(("h1", "h2", "hv1"), switch),
        }  # fmt: skip
        daemons = {"ovsdb-server": SimpleNamespace(pid=12), "ovs-vswitchd": SimpleNamespace(pid=13)}
        bed.server = lambda name: SimpleNamespace(host_pid=14, daemons=daemons)  # type: ignore[attr-defined]
        bed.supervision = lambda: {"restarts": self.restarts, "down": []}  # type: ignore[method-assign]
        self.bed = bed
        yield bed

    @contextlib.contextmanager
    def _flows(self, bed: Any) -> Iterator[tuple[Any, Any]]:
        one, other = (
            SimpleNamespace(arrived=[(7, 1.0)], outage=lambda since, gap=gap, lost=lost: (gap + since, lost))
            for gap, lost in ((40.0, 2), (60.0, 1))
        )
        yield one, other

    def _kill(self, pid: int, number: int) -> None:
        assert number == signal.SIGKILL
        self.killed.append(pid)
        self.restarts += 1
        self.at += 0.5

    def _wait_for(self, condition: Any, timeout: float, missing: Any) -> None:
        assert condition()
        assert missing()


def test_each_case_kills_its_processes_in_a_testbed_of_its_round(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    said: list[tuple[str, float]] = []
    found = outage.measure("ovs", ["everything", "host process"], 2, lambda case, share: said.append((case, share)))
    assert run.killed == [11, 12, 13, 14, 14] * 2
    assert run.beds == 2
    # Of the worse direction: from the number that had come last before the signal.
    assert found == {"everything": [Outage(67.0, 2, 2.0)] * 2, "host process": [Outage(67.0, 2, 0.5)] * 2}
    assert said == [("everything", 0.0), ("host process", 0.25), ("everything", 0.5), ("host process", 0.75)]
    assert {server.dataplane for server in run.bed.topology.servers} == {"ovs"}


def test_a_process_that_is_not_up_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    with run._testbed("two-hosts", "r") as bed:
        bed.control["pid"] = None
        with pytest.raises(RunError, match="a process is not up"):
            outage._pids(bed, (CONTROL,))
        assert outage._pids(bed, ("ovsdb-server",)) == [12]


@pytest.mark.parametrize("missing", ["down", "state", "switches", "programmed", "agent"])
def test_a_run_is_whole_when_all_of_it_is_there(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    run = Run(monkeypatch)
    outage.measure("ovs", ["host process"], 1, lambda case, share: None)
    bed: Any = run.bed
    assert outage._all_up(bed)
    if missing == "down":
        bed.supervision = lambda: {"restarts": 0, "down": ["h1"]}
    elif missing == "state":
        bed.control["state"] = "unreachable"
    elif missing == "switches":
        del bed.control["switches"]["h2"]
    else:
        bed.control["switches"]["h2"] = {"programmed": True, "agent": True} | {missing: False}
    assert not outage._all_up(bed)
