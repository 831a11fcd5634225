"""The offload delay: flows on a testbed that is made up, figures, bars, tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import offload_delay
from benchmarks.offload_delay import bars, figures_of, options, shown
from hoverboard.contract.errors import MeasurementError
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.spec.topology import Topology


def test_bars_hold_the_medians_against_both_limits() -> None:
    figures = figures_of({1.0: [100.04, 600.0, 2_000.0], 0.1: [300.0, 260.0, 240.0]})
    assert [(bar.value, bar.limit, bar.sense, bar.passed) for bar in bars(figures)] == [
        (600.0, 1_500.0, "<", True), (260.0, 250.0, "<", False),
    ]  # fmt: skip
    assert (figures["1"]["samples_ms"], figures["0.1"]["count"]) == ([100.0, 600.0, 2_000.0], 3)
    assert [bar.what for bar in bars(figures_of({0.1: [249.9]}))] == ["offloaded, report interval 0.1 s (median)"]
    (table,) = shown(figures)
    assert [list(column.cells)[0] for column in table.columns] == ["1", "3", "100", "600", "1720", "2000"]


def test_flows_are_pairs_there_are() -> None:
    assert (options([]).flows, options([]).dataplane) == (12, "fastpath")
    assert (options(["--flows", "25"]).flows, options(["--flows", "1"]).flows) == (25, 1)
    for wrong in ("26", "0"):
        with pytest.raises(SystemExit):
            options(["--flows", wrong])


class Socket:
    """Counts what it sends; the first packet of each may be refused by who does not listen."""

    def __init__(self, refused: bool = False) -> None:
        self.sent: list[int] = []
        self._refused = refused

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None: ...

    def connect(self, where: tuple[str, int]) -> None:
        self.where = where

    def send(self, payload: bytes) -> None:
        if self._refused:
            self._refused = False
            raise ConnectionRefusedError
        self.sent.append(len(payload))


class Run:
    """A testbed whose host sends a flow host to host at the look number `after`; a look takes 2 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int, *, refused: bool = False) -> None:
        self.at, self.looks, self.after, self.waits = 1_000_003.0, 0, after, []
        self.sockets: list[Socket] = []
        self.entered: list[int] = []
        self.beds: list[FakeTestbed] = []
        self._refused = refused
        monkeypatch.setattr(offload_delay, "Testbed", self._testbed)
        monkeypatch.setattr(offload_delay, "entered", self._entered)
        monkeypatch.setattr(offload_delay, "socket", SimpleNamespace(socket=self._socket, AF_INET=2, SOCK_DGRAM=2))
        monkeypatch.setattr(offload_delay, "time", SimpleNamespace(monotonic=lambda: self.at))
        monkeypatch.setattr(offload_delay, "pause", self.waits.append)

    @contextlib.contextmanager
    def _testbed(self, topology: Topology, run: str) -> Iterator[Any]:
        bed = FakeTestbed(topology, {"run": run})
        self.beds.append(bed)
        client = SimpleNamespace(connect=lambda seconds: None, flows=self._flows, close=lambda: None)
        bed.host_client = lambda name: client  # type: ignore[method-assign]
        yield bed

    @contextlib.contextmanager
    def _entered(self, pid: int) -> Iterator[None]:
        self.entered.append(pid)
        yield

    def _socket(self, family: int, kind: int) -> Socket:
        self.sockets.append(Socket(self._refused))
        self.looks = 0
        return self.sockets[-1]

    def _flows(self) -> list[dict[str, Any]]:
        self.at += 0.002
        self.looks += 1
        source, target = self.beds[-1].topology.vms[0], self.sockets[-1].where[0]
        row = {"kind": "offload", "now": True, "src": str(source.ip), "dst": target}
        others = [row | change for change in ({"kind": "host"}, {"now": False}, {"src": "x"}, {"dst": "x"})]
        return others if self.looks < self.after else [*others, row]


def test_a_flow_sends_until_its_host_sends_it_host_to_host(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, after=7)
    said: list[tuple[str, float]] = []
    found = offload_delay.measure(0.5, 1, "fastpath-vmm", lambda what, share: said.append((what, share)), 0.5)
    assert found == [pytest.approx(14.0)]
    (socket,) = run.sockets
    assert socket.sent == [1_000] * 3  # at 0, and at the looks after 6 and 12 ms at the latest
    assert socket.where == ("10.0.0.3", 9)
    (bed,) = run.beds
    assert run.entered == [bed.pid_of("blue-1")]
    assert {server.dataplane for server in bed.topology.hosts} == {"fastpath-vmm"}
    assert (bed.topology.report_interval, len(bed.topology.vms)) == (0.5, 10)
    assert said == [("interval 0.5 s, flow 1 of 1", 0.5)]


def test_a_packet_that_is_refused_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, after=1, refused=True)
    offload_delay.measure(0.5, 1, "fastpath", lambda what, share: None, 0.0)
    assert run.sockets[0].sent == [1_000]


def test_flows_begin_spread_over_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, after=1)
    monkeypatch.setattr(offload_delay, "_seconds_to_offload", lambda bed, sender, source, target: len(run.waits))
    said: list[float] = []
    found = offload_delay.measure(1.0, 4, "fastpath", lambda what, share: said.append(share), 0.5)
    assert found == [1e3, 2e3, 3e3, 4e3]
    assert run.waits == [0.0, 0.25, 0.5, 0.75]
    assert said == [0.5, 0.625, 0.75, 0.875]


def test_a_flow_that_is_never_offloaded_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, after=10**9)
    with pytest.raises(MeasurementError, match="10.0.0.2 to 10.0.0.3 is not offloaded after 10 s"):
        offload_delay.measure(1.0, 1, "fastpath", lambda what, share: None, 0.0)
    assert run.looks == pytest.approx(5_000, abs=2)
