"""The failover benchmark: masters that are killed or hang in a testbed that is made up, figures, bars, tables."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import failover
from benchmarks.failover import bars, figures_of, options, shown
from controllers.partitions import Owners
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.errors import MeasurementError, RunError
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.cluster.control_processes import ControlLayout


def test_bars_hold_the_longest_against_each_stores_limit() -> None:
    figures = figures_of(
        {"embedded": {"killed": [100.04, 501.0, 90.0], "hangs": [1_300.0]}, "etcd": {"killed": [400.0], "hangs": []}}
    )
    assert [(bar.value, bar.limit, bar.sense, bar.passed) for bar in bars(figures)] == [
        (501.0, 500.0, "<", False), (400.0, 2_000.0, "<", True),
    ]  # fmt: skip
    assert [bar.what for bar in bars({"etcd": figures["etcd"]})] == ["master killed, etcd store (longest)"]
    assert (figures["embedded"]["hangs"]["count"], figures["embedded"]["killed"]["samples_ms"][0]) == (1, 100.0)
    assert "hangs" not in figures["etcd"]
    (made,) = shown(figures)
    assert [list(column.cells)[0] for column in made.columns] == ["embedded", "killed", "3", "90", "100", "421", "501"]
    assert list(made.columns[1].cells) == ["killed", "hangs", "killed"]


def test_what_is_asked_for_must_be_possible() -> None:
    assert (options([]).rounds, options([]).hangs, options([]).store) == (10, 3, None)
    assert (options(["--rounds", "100"]).rounds, options(["--hangs", "0"]).hangs) == (100, 0)
    assert options(["--hangs", "50", "--store", "etcd"]).store == "etcd"
    for wrong in ("--rounds 0", "--rounds 101", "--hangs -1", "--hangs 51", "--store zookeeper"):
        with pytest.raises(SystemExit):
            options(wrong.split())


class Run:
    """A run whose next master, one number higher, programs what is asked for at the third look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.master, self.looks = 1_000_003.0, 50, 0
        self.signals: list[tuple[int, int]] = []
        self.asked: list[Any] = []
        self.layouts: list[ControlLayout] = []
        self.takes_over, self.closed = True, 0
        self._asked = threading.Event()
        monkeypatch.setattr(failover, "Testbed", self._testbed)
        monkeypatch.setattr(failover.os, "kill", self._kill)
        monkeypatch.setattr(failover, "time", SimpleNamespace(monotonic=lambda: self.at))
        monkeypatch.setattr(failover, "FabricClient", self._client)
        monkeypatch.setattr(failover.status, "openflow", self._openflow)

    @contextlib.contextmanager
    def _testbed(self, topology: Any, run: str, control: ControlLayout) -> Iterator[Any]:
        self.layouts.append(control)
        bed = FakeTestbed(topology, {})
        bed.control_status = self._status  # type: ignore[method-assign]
        spec = bed.topology.hoverboards[0]
        bed.server = lambda name: SimpleNamespace(name=name, spec=spec)  # type: ignore[attr-defined]
        bed.intent_address = "unix:/x"
        self.partition = Owners(2).of(datapath_id(spec.underlay_ip))
        yield bed

    def _status(self) -> dict[str, Any]:
        rows = [
            {"pid": 10 * partition + replica, "partition": partition, "master": False, "state": "up", "version": 3}
            for partition in (0, 1)
            for replica in (0, 1)
        ]
        rows[2 * self.partition] |= {"pid": self.master, "master": True}
        rows[2 * (1 - self.partition)] |= {"master": True}
        return {"controllers": rows, "switches": {"hv1": {"programmed": True}}}

    def _kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        self.at += 0.001
        if self.takes_over and pid == self.master:
            self.master += 1

    def _client(self, address: str) -> Any:
        assert address == "unix:/x"
        return SimpleNamespace(diff=self._diff, close=self._close)

    def _diff(self, upsert: list[Any]) -> None:
        self.asked += upsert
        self.looks = 0
        self._asked.set()

    def _close(self) -> None:
        self.closed += 1

    def _openflow(self, server: Any) -> list[str]:
        assert server.name == "hv1"
        assert self._asked.wait(20)
        self.looks += 1
        self.at += 0.1
        address = str(self.asked[-1].ip)
        return [f"nw_dst={address}9,actions=x", f"nw_dst={address} actions=x" if self.looks >= 3 else "none"]


def test_masters_are_killed_or_hang_and_a_change_is_asked_for_behind_the_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(run, "_asked", threading.Event())
    said: list[float] = []
    found = failover.measure("etcd", {"killed": 2, "hangs": 1}, said.append)
    assert [len(found["killed"]), len(found["hangs"])] == [2, 1]
    assert found["killed"][0] == pytest.approx(301.0)  # the signal took 1 ms, and three looks 100 ms each
    assert run.signals == [
        (50, signal.SIGKILL), (51, signal.SIGKILL), (52, signal.SIGSTOP), (52, signal.SIGKILL),
    ]  # fmt: skip
    assert [(vm.name, str(vm.ip), vm.host) for vm in run.asked] == [
        (f"intent-{last}", f"10.0.0.{last}", "h1") for last in (100, 101, 102)
    ]
    assert said == [0.0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert run.layouts == [ControlLayout(True, partitions=2, replicas=2, store="etcd")]
    assert run.closed == 3


def test_a_change_that_is_never_programmed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(failover.status, "openflow", lambda server: setattr(run, "at", run.at + 0.5) or [])
    with pytest.raises(MeasurementError, match="no standby has programmed the change after 15 s"):
        failover.measure("embedded", {"hangs": 1}, lambda share: None)
    assert run.signals == [(50, signal.SIGSTOP), (50, signal.SIGKILL)]
    assert run.closed == 1


def test_an_old_master_that_programmed_the_change_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.takes_over = False
    with pytest.raises(MeasurementError, match="the old master programmed the change"):
        failover.measure("embedded", {"killed": 1}, lambda share: None)


@pytest.mark.parametrize("change", [{"state": "down"}, {"version": 0}, {"master": False}])
def test_a_round_waits_until_all_controllers_are_there(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(failover, "_ALL_UP_SECONDS", 0.0)
    whole = run._status

    def status() -> dict[str, Any]:
        found = whole()
        next(row for row in found["controllers"] if row["pid"] == run.master).update(change)
        return found

    monkeypatch.setattr(run, "_status", status)
    with pytest.raises(RunError, match="a VM controller does not come back"):
        failover.measure("embedded", {"killed": 1}, lambda share: None)
    assert run.signals == []


def test_a_round_waits_until_all_switches_are_programmed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(failover, "_ALL_UP_SECONDS", 0.0)
    whole = run._status
    monkeypatch.setattr(run, "_status", lambda: whole() | {"switches": {"hv1": {"programmed": False}}})
    with pytest.raises(RunError):
        failover.measure("embedded", {"killed": 1}, lambda share: None)
