"""The flow set-up benchmark without its testbed: turns, proofs, bars, tables, command line."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import flow_setup, new_flows
from benchmarks.flow_setup import Rig
from benchmarks.new_flows import Arrivals
from hoverboard.contract.encapsulation import GATEWAY_MAC
from hoverboard.contract.errors import MeasurementError, SwitchError
from hoverboard.vswitch.ovs import Ovs
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.run.testbed import Testbed


class Host:
    """A host whose flow table counts what is forwarded; a call of ofproto/trace takes 0.25 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, entries: int = 100) -> None:
        self.bed = FakeTestbed("two-hosts", {}, self._say)
        self.at, self.table, self.asked, self.driven = 1_000_003.0, dict.fromkeys(("entries", "evicted"), 7), [], []
        self._entries = entries
        switch = SimpleNamespace(appctl=self._appctl, directory="/run/h1", management="unix:/run/h1/br.mgmt")
        source, target = self.bed.topology.vms[0], self.bed.topology.vms[2]
        self.rig = Rig(cast(Testbed, self.bed), source, target, cast(Ovs, switch), 5)
        monkeypatch.setattr(flow_setup, "time", SimpleNamespace(monotonic=lambda: self.at))
        monkeypatch.setattr(new_flows, "ends", self._ends)
        monkeypatch.setattr(new_flows, "drive", self._drive)

    def _say(self, name: str) -> dict[str, Any]:
        return {"flow_table": self.table | {"capacity": 4096}}

    def _appctl(self, *words: str) -> str:
        self.asked.append(words)
        self.at += 0.25
        return ""

    @contextlib.contextmanager
    def _ends(self, *given: Any) -> Iterator[tuple[Any, ...]]:
        yield given

    def _drive(self, both: tuple[Any, ...], seconds: float, window: int) -> Arrivals:
        self.driven.append((both, seconds, window))
        self.table = {"entries": self.table["entries"] + self._entries - 10, "evicted": self.table["evicted"] + 10}
        return Arrivals(103, 0.5, [0.001] * 50 + [0.004] * 50)


def test_a_question_is_of_a_udp_packet_from_vm_to_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Host(monkeypatch).rig
    assert rig.question(4711) == (
        f"in_port=5,dl_src={rig.source.mac},dl_dst={GATEWAY_MAC},ip,nw_proto=17,nw_src={rig.source.ip},"
        f"nw_dst={rig.target.ip},nw_ttl=64,udp_src=4711,udp_dst=7"
    )


def test_new_flows_are_counted_with_what_the_table_says_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    rate, detail = flow_setup.set_up(host.rig, 2.0, 64)
    assert rate == 200.0
    assert detail == pytest.approx({
        "sent": 103, "forwarded": 100, "lost": 3, "p50_ms": 2.5, "p99_ms": 4.0, "entries": 90, "evicted": 10,
    })  # fmt: skip
    source, target = host.rig.source, host.rig.target
    ends = (host.bed.pid_of(source.name), source.ip, host.bed.pid_of(target.name), target.ip)
    assert host.driven == [(ends, 2.0, 64)]
    assert host.bed.opened == host.bed.closed == ["h1", "h1"]


@pytest.mark.parametrize(("entries", "proven"), [(95, True), (94, False)])
def test_every_new_flow_needs_an_entry_of_its_own(monkeypatch: pytest.MonkeyPatch, entries: int, proven: bool) -> None:
    host = Host(monkeypatch, entries)
    if proven:
        assert flow_setup.prove_entries(host.rig, 8)["forwarded"] == 100
        assert host.driven[0][1:] == (0.2, 8)
        return
    with pytest.raises(MeasurementError, match=f"100 new flows were forwarded, but {entries - 10} entries made"):
        flow_setup.prove_entries(host.rig, 8)


def test_calls_of_trace_are_each_for_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    assert flow_setup.trace(host.rig, 0.9) == (4.0, {"calls": 4})
    assert [words[:2] for words in host.asked] == [("ofproto/trace", "br-int")] * 4
    assert [words[2] for words in host.asked] == [host.rig.question(port) for port in (1024, 1025, 1026, 1027)]


def test_both_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)

    @contextlib.contextmanager
    def built(progress: Any) -> Iterator[Rig]:
        yield host.rig

    monkeypatch.setattr(flow_setup, "built", built)
    said: list[tuple[str, float]] = []
    found = flow_setup.measure(2, 0.9, 64, lambda what, share: said.append((what, share)))
    assert found["samples"] == {"engine": [200.0, 200.0], "trace": [4.0, 4.0]}
    assert (found["engine_over_trace"], found["capacity"], found["proof"]["forwarded"]) == (50.0, 4096, 100)
    assert [len(several) for several in found["details"].values()] == [2, 2]
    assert found["summary"]["trace"]["median"] == 4.0
    assert said == [
        ("engine, round 1 of 2", 0.0), ("trace, round 1 of 2", 0.0), ("trace, round 2 of 2", 0.5),
        ("engine, round 2 of 2", 0.5), ("taking everything down", 1.0),
    ]  # fmt: skip


def test_the_switch_is_given_a_flow_that_matches_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    asked: list[list[str]] = []

    def run(argv: list[str], **settings: Any) -> Any:
        asked.append(argv)
        return SimpleNamespace(returncode=len(asked) - 1, stderr="no such table\n")

    monkeypatch.setattr(subprocess, "run", run)
    flow_setup._match_a_port(host.rig.switch, 7)
    assert asked[0][:5] == ["ovs-ofctl", "-O", "OpenFlow14", "add-flow", "unix:/run/h1/br.mgmt"]
    words = asked[0][5].split(",")
    assert {"priority=1000", "metadata=0x7", "udp", "tp_dst=9", "actions=drop"} <= set(words)
    with pytest.raises(SwitchError, match="ovs-ofctl: no such table"):
        flow_setup._match_a_port(host.rig.switch, 7)


def figures(engine: list[float], trace: list[float], ratio: float) -> dict[str, Any]:
    detail = {"p50_ms": 1.0, "p99_ms": 2.0, "lost": 0}
    summary = {
        name: flow_setup.distribution(values).as_dict() for name, values in (("engine", engine), ("trace", trace))
    }
    return {"summary": summary, "details": {"engine": [detail] * len(engine)}, "engine_over_trace": ratio}


@pytest.mark.parametrize(("ratio", "passed"), [(0.8, True), (0.79, False)])
def test_the_bar(ratio: float, passed: bool) -> None:
    found = figures([800.0], [1000.0], ratio)
    assert [bar.passed for bar in flow_setup.bars(found)] == [passed]
    assert [list(column.cells)[1:] for column in flow_setup.table(found).columns[1:]] == [
        ["1000", "1.00", "2.00", "0"]
    ] * 3
    assert list(flow_setup.table(found).columns[2].cells)[0] == "800"


def test_options() -> None:
    quick = flow_setup.options(["--quick", "--window", "16"])
    assert (quick.repeat, quick.seconds, quick.window) == (3, 1.0, 16)
    assert (flow_setup.options([]).repeat, flow_setup.options([]).seconds) == (5, 2.0)
    assert (flow_setup.options(["--repeat", "9", "--seconds", "0.5"]).seconds, quick.window) == (0.5, 16)
    for wrong in (["--window", "0"], ["--repeat", "0"], ["--repeat", "-1"], ["--seconds", "0"], ["--seconds", "-1"]):
        with pytest.raises(SystemExit):
            flow_setup.options(wrong)
