"""Who is killed in a testbed that is made up, what is asked for behind the signal, and what the samples are."""

from __future__ import annotations

import random
import re
import signal
import threading
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.catalog import failover
from experiments.catalog.failover import DIRECT, OVER, Failover
from experiments.workload.traffic import Datagram
from hoverboard.contract.errors import MeasurementError, RunError
from tests.unit.experiments.fake_testbed import (
    FakeExchange,
    FakeRunning,
    FakeTestbed,
    ScriptedBench,
    exchanged,
    measured,
)
from topologies.cluster.control_processes import ControlLayout
from topologies.processes.process_table import LinuxProcesses

PROCESSES = [
    ("host process of h1", 1), ("host process of hv1", 2), ("ovs-vswitchd of h1", 3), ("ovs-vswitchd of hv1", 4),
    ("ovsdb-server of hv1", 5), ("fabric-manager", 6), ("front-end-0", 7), ("vm-controller-0-0", 8),
    ("vm-controller-0-1", 10), ("ovsdb-server of h1", 11), ("host process of hv2", 12),
]  # fmt: skip


class Run:
    """A run of which hv2 carries more; time passes by what is looked at.

    Attributes:
        killed: pids that got SIGKILL.
        asked: VMs that were asked for; the first `refusals` requests fail.
        shown: how often a switch is looked at before the VM's flow is there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, refusals: int = 0, shown: int = 0) -> None:
        exchanged(monkeypatch, failover)
        self.killed: list[int] = []
        self.asked: list[Any] = []
        self.removed: list[Any] = []
        self.died: list[str] = []
        self.looked: list[str] = []
        self.plugged: list[Any] = []
        self.restarts, self.at = 4, 1_000_003.0
        self._refusals, self._shown, self._taken = refusals, shown, threading.Event()
        self.controllers = [self._row(8, False), self._row(10, True), self._row(9, False)]
        monkeypatch.setattr(failover, "time", SimpleNamespace(monotonic=self._now))
        monkeypatch.setattr(failover.os, "kill", self._kill)
        monkeypatch.setattr(failover.ledger, "Ledger", lambda directory: directory)
        records = [SimpleNamespace(what=what, process=SimpleNamespace(pid=pid)) for what, pid in PROCESSES]

        def live(book: Any, processes: Any) -> list[SimpleNamespace]:
            assert (book, type(processes)) == (self.testbed.directory, LinuxProcesses)
            return records

        monkeypatch.setattr(failover.ledger, "live_processes", live)
        monkeypatch.setattr(failover.status, "openflow", self._openflow)

    def _row(self, pid: int, master: bool) -> dict[str, Any]:
        return {"pid": pid, "master": master, "state": "up", "version": 7}

    def _now(self) -> float:
        self.at += 0.125
        return self.at

    def _kill(self, pid: int, number: int) -> None:
        assert number == signal.SIGKILL
        self.killed.append(pid)
        self.restarts += 1

    def _openflow(self, server: str) -> list[str]:
        self.looked.append(server)
        if not self._taken.is_set():
            return ["nw_dst=10.0.0.1"]
        self._shown -= 1
        if self._shown == 0:
            raise RunError("the switch is not there")
        ip = str(self.asked[-1].ip)
        return [f"priority=1,ip,nw_dst={ip}0 actions=drop", f"nw_dst={ip},actions=x"] if self._shown < 0 else [
            f"nw_dst={ip}0"
        ]  # fmt: skip

    def upsert(self, vm: Any) -> None:
        self.asked.append(vm)
        if len(self.asked) <= self._refusals:
            raise RunError("the fabric manager is gone")
        self._taken.set()

    def prepare(self, testbed: FakeTestbed) -> None:
        self.testbed = testbed
        counted = {"hv1": 100, "hv2": 900}
        testbed.status = lambda host: {"counters": {"rx_packets": counted[host]}}
        testbed.control = {"controllers": self.controllers, "switches": {"h1": {"programmed": True}}}
        testbed.supervision = lambda: {"down": [], "restarts": self.restarts}
        testbed.upsert, testbed.remove = self.upsert, self.removed.append  # type: ignore[attr-defined]
        testbed.server = lambda name: SimpleNamespace(name=name)  # type: ignore[attr-defined]
        testbed.suppress_restarts = self.died.append  # type: ignore[attr-defined]
        testbed.add_vm = lambda network, host: self.plugged.append((network, host)) or SimpleNamespace(name="new")  # type: ignore[attr-defined]
        testbed.remove_vm = self.plugged.append  # type: ignore[attr-defined]
        here, there = ([vm.name for vm in testbed.topology.vms if vm.host == host] for host in ("h1", "h2"))
        testbed.standing = list(zip(here, there, strict=True))[2:]

    def measure(self, role: str) -> dict[str, list[tuple[float | None, str, dict[str, Any]]]]:
        self.bench = ScriptedBench(self.prepare)
        return measured(Failover, {"role": role}, self.bench, after=5.0)


def names(run: Run) -> list[str]:
    return [one.name for one in run.looked]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("role", "killed"),
    [
        ("nobody", []), ("fabric-manager", [6]), ("vm-controller", [10]), ("front-end", [7]),
        ("control-plane", [6, 7, 8, 10]),
    ],
)  # fmt: skip
def test_a_role_is_killed_and_a_vm_asked_for(monkeypatch: pytest.MonkeyPatch, role: str, killed: list[int]) -> None:
    run = Run(monkeypatch)
    found = run.measure(role)
    point = {"role": role}
    assert run.killed == killed
    # From right before the signal until the flow is seen: two looks at a clock that goes on by 125 ms each.
    assert found["next change"] == [(125.0, "ms", point)]
    assert set(names(run)) == {"hv2"}  # the Hoverboard that carries more
    (vm,) = run.asked
    assert (run.removed, vm.host, vm.network) == ([vm], "h1", "blue")
    assert 100 <= int(str(vm.ip).rpartition(".")[2]) < 250
    assert vm.name == f"late-{str(vm.ip).rpartition('.')[2]}"
    assert run.died == []
    bench = run.bench
    assert (bench.fresh_ones, bench.testbeds[0].options) == (0, {"control": ControlLayout(True, replicas=3)})
    assert bench.kept["signal"]["killed"] == killed
    assert [one["arrived"] > 0 for one in bench.kept["flows"]] == [True] * 4
    assert len(bench.kept["signal"]["offloads"]) == 2
    assert bench.testbeds[0].opened == bench.testbeds[0].closed == ["hv1", "hv2"]


def test_an_etcd_member_is_killed_where_etcd_keeps_elections(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    with pytest.raises(MeasurementError, match="no process of etcd-member was found"):
        run.measure("etcd-member")
    assert run.bench.testbeds[0].options == {"control": ControlLayout(True, replicas=3, store="etcd")}


def test_all_of_the_hoverboard_that_carries_more_is_killed_and_the_other_one_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch)
    found = run.measure("hoverboard")
    assert run.killed == [12]
    assert run.died == ["hv2"]
    assert set(names(run)) == {"hv1"}
    assert run.bench.fresh_ones == 1
    assert found["next change"][0][0] == 125.0


@pytest.mark.parametrize(("role", "pid"), [("host-process", 1), ("ovs-vswitchd", 3), ("ovsdb-server", 11)])
def test_a_server_s_process_is_killed_and_its_next_vm_added_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch, role: str, pid: int
) -> None:
    run = Run(monkeypatch)
    found = run.measure(role)
    assert run.killed == [pid]
    assert run.plugged == [("blue", "h1"), "new"]
    assert (run.asked, run.looked) == ([], [])
    assert found["next change"] == [(125.0, "ms", {"role": role})]


def test_a_server_s_process_that_does_not_come_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(failover, "_LONGEST", 0.01)
    monkeypatch.setattr(failover.os, "kill", lambda pid, number: None)  # no restart is counted
    with pytest.raises(RunError, match="killed processes of h1"):
        run.measure("host-process")


def test_traffic_settles_before_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    passed: list[tuple[float, int]] = []
    monkeypatch.setattr(FakeExchange, "passing", staticmethod(lambda at: passed.append((at, len(run.killed)))))
    run.measure("front-end")
    assert passed == [(2.0, 0), (7.0, 1)]


def test_the_newcomer_s_address_is_behind_those_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    drawn: list[tuple[int, ...]] = []

    class Draw(random.Random):
        def randrange(self, *bounds: int) -> int:  # type: ignore[override]
            drawn.append(bounds)
            return 123

    class Bench(ScriptedBench):
        def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
            return Draw(1) if of == "newcomer" else super().random(of, across=across)

    run.bench = Bench(run.prepare)
    measured(Failover, {"role": "nobody"}, run.bench)
    assert drawn == [(100, 250)]
    assert [str(vm.ip) for vm in run.asked] == ["10.0.0.123"]


def test_a_master_that_is_gone_by_then_is_an_error_and_nothing_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(FakeExchange, "passing", staticmethod(lambda at: run.controllers[1].update(master=False)))
    with pytest.raises(MeasurementError, match="no process of vm-controller was found"):
        run.measure("vm-controller")
    assert run.killed == []


def test_who_is_killed_is_waited_for_until_nothing_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    waited: list[tuple[float, list[bool]]] = []

    def wait_for(condition: Any, timeout: float, missing: Any, **_: Any) -> None:
        down: list[list[str]] = [["h1"], []]
        testbed = run.bench.testbeds[0]
        seen = []
        for names in down:
            testbed.supervision = lambda names=names: {"down": names, "restarts": run.restarts}
            seen.append(condition())
        waited.append((timeout, seen))

    monkeypatch.setattr(failover, "wait_for", wait_for)
    run.measure("host-process")
    assert waited == [(30.0, [False, True]), (15.0, [False, True])]


def test_the_flow_of_the_newcomer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    waited: list[float] = []
    monkeypatch.setattr(failover, "wait_for", lambda condition, timeout, *_, **__: waited.append(timeout))
    run.measure("front-end")
    assert waited == [30.0, 15.0]


def test_who_refuses_is_asked_again_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, refusals=2)
    bench = ScriptedBench(run.prepare)
    pauses: list[float] = []
    ended = SimpleNamespace(is_set=lambda: False, wait=pauses.append)
    failover._request_vm(bench.testbed(failover.topology()), "new", ended)  # type: ignore[arg-type]
    assert (run.asked, pauses) == (["new"] * 3, [0.01, 0.01])


def test_a_switch_that_is_not_there_has_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, shown=1)
    run.asked = [SimpleNamespace(ip="10.0.0.123")]
    run._taken.set()
    there = [failover._has_flow("hv1", re.compile("10.0.0.123,")) for _ in range(2)]
    assert there == [False, True]


def test_a_vm_is_requested_until_it_is_accepted_and_looked_for_until_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch, refusals=2, shown=3)
    run.measure("fabric-manager")
    assert len(run.asked) == 3
    assert len(run.looked) >= 4  # absent, at another address, an error, there


def test_a_vm_that_is_never_taken_is_an_error_and_not_asked_for_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, refusals=10**9)
    monkeypatch.setattr(failover, "_LONGEST", 0.05)
    with pytest.raises(RunError, match=r"late-\d+ is not programmed on hv2"):
        run.measure("fabric-manager")
    assert "ask" not in {thread.name for thread in threading.enumerate()}


def test_losses_and_silence_are_those_of_the_flow_that_lost_most(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    FakeExchange.made.clear()

    def lost(one: Datagram) -> bool:
        """Flow 1 loses half a second from the fifth on, flow 2 a tenth, flow 0 something before the signal."""
        spans = {0: (1.0, 1.3), 1: (5.0, 5.5), 2: (4.0, 4.1)}
        begin, end = spans.get(one.flow, (0.0, 0.0))
        return begin <= one.at < end

    monkeypatch.setattr(FakeExchange, "lost", staticmethod(lost))
    monkeypatch.setattr(FakeExchange, "began", 1_000_003.0, raising=False)
    found = run.measure("nobody")
    by_path = {labels["path"]: value for value, _, labels in found["lost"]}
    assert by_path == {OVER: pytest.approx(50, abs=1), DIRECT: pytest.approx(20, abs=1)}
    silence = {labels["path"]: value for value, _, labels in found["silence"]}
    assert silence == {OVER: pytest.approx(510, abs=15), DIRECT: pytest.approx(105, abs=10)}
    assert {unit for _, unit, _ in found["lost"]} == {"datagrams a flow"}
    exchange = FakeExchange.made[0]
    assert exchange.seconds == 7.0
    assert [flow.rate_bps for flow in exchange.flows] == [160_000.0, 160_000.0, 1_600_000.0, 1_600_000.0]
    assert len({name for flow in exchange.flows for name in (flow.src, flow.dst)}) == 8
    assert {one.size for one in exchange.due if one.flow < 2} == {200}
    assert {one.size for one in exchange.due if one.flow > 1} == {1000}


@pytest.mark.parametrize(
    ("standing", "paths"), [(slice(1, None), {OVER: "1 flow did not go over Hoverboards"}),
                            (slice(3, None), {DIRECT: "1 flow did not go host to host"}),
                            (slice(4, None), {DIRECT: "2 flows did not go host to host"})],
)  # fmt: skip
def test_flows_that_went_another_way_are_no_sample_of_this_one(
    monkeypatch: pytest.MonkeyPatch, standing: slice, paths: dict[str, str]
) -> None:
    run = Run(monkeypatch)

    def prepare(testbed: FakeTestbed) -> None:
        run.prepare(testbed)
        here, there = ([vm.name for vm in testbed.topology.vms if vm.host == host] for host in ("h1", "h2"))
        testbed.standing = list(zip(here, there, strict=True))[standing]

    found = list(Failover().measure({"role": "nobody"}, {"after": 5.0}, ScriptedBench(prepare)))
    failed = {one.labels["path"]: one.error for one in found if one.value is None}
    assert failed == paths
    assert {one.labels["path"] for one in found if one.metric == "silence"} == {OVER, DIRECT} - set(paths)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[0].update(state="down"), lambda rows: rows[0].update(version=0),
        lambda rows: rows[0].update(master=True), lambda rows: rows[1].update(master=False), lambda rows: rows.pop(),
    ],
)  # fmt: skip
def test_a_run_that_is_not_whole_is_not_measured(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    run = Run(monkeypatch)
    change(run.controllers)
    waited: list[float] = []

    def wait_for(condition: Any, timeout: float, missing: Any, **_: Any) -> None:
        waited.append(timeout)
        assert not condition()
        raise RunError(missing())

    monkeypatch.setattr(failover, "wait_for", wait_for)
    with pytest.raises(RunError, match="not all processes of the run are up"):
        run.measure("nobody")
    assert waited == [30.0]


def test_a_silence_begins_up_to_a_tenth_of_a_second_before_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    monkeypatch.setattr(FakeRunning, "began", 1_000_001.0)  # the signal is at 2.125 s
    monkeypatch.setattr(FakeExchange, "lost", staticmethod(lambda one: 1.5 < one.at < 2.5))
    found = run.measure("nobody")
    signal = run.bench.kept["signal"]
    assert (signal["at"], signal["seconds"]) == (2.125, 0.125)
    for value, _, _ in found["silence"]:
        assert value == pytest.approx(1e3 * (2.5 - 2.125 + 0.1), abs=15)


@pytest.mark.parametrize("what", ["switch", "down"])
def test_a_run_whose_switches_or_processes_are_not_there_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run = Run(monkeypatch)
    testbed = ScriptedBench(run.prepare).testbed(failover.topology())
    whole: list[bool] = []
    monkeypatch.setattr(failover, "wait_for", lambda condition, *_, **__: whole.append(condition()))
    failover._wait_until_up(testbed)
    if what == "switch":
        testbed.control["switches"]["h2"] = {"programmed": False}
    else:
        testbed.supervision = lambda: {"down": ["h1"], "restarts": 0}
    failover._wait_until_up(testbed)
    assert whole == [True, False]
