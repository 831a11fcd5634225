"""Datagrams that are really sent, over the loopback: what is offered, what arrives, what is late or refused."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from experiments.workload import udp_exchange
from experiments.workload.traffic import Datagram, TrafficFlow
from experiments.workload.udp_exchange import Carried, Exchange, Result, Running
from tests.waiting import until
from topologies.run.testbed import Testbed

FLOWS = [TrafficFlow("a", "b", 1e6), TrafficFlow("b", "a", 2e6), TrafficFlow("a", "c", 3e6)]
_HEADER = 12
DEADLINE = 20.0


class Bed:
    """VMs on the loopback: a is 127.0.0.1, b 127.0.0.2, c 127.0.0.3."""

    def __init__(self) -> None:
        vms = [SimpleNamespace(name=name, ip=IPv4Address(f"127.0.0.{number}")) for number, name in enumerate("abc", 1)]
        self.topology = SimpleNamespace(vms=vms)

    def pid_of(self, name: str) -> int:
        return ord(name)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The namespaces that sockets were made in."""
    found: list[int] = []

    @contextlib.contextmanager
    def enter(pid: int) -> Iterator[None]:
        found.append(pid)
        yield

    monkeypatch.setattr(udp_exchange, "entered", enter)
    return found


def made(flows: list[TrafficFlow]) -> Exchange:
    return Exchange(cast(Testbed, Bed()), flows)


@pytest.fixture(autouse=True)
def short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_exchange, "_DRAIN_SECONDS", 0.1)


def test_what_is_sent_arrives_at_the_flow_s_own_vm(entered: list[int]) -> None:
    due = [Datagram(0.0, 0, 100), Datagram(0.001, 1, 200), Datagram(0.002, 0, 64), Datagram(0.003, 2, 300)]
    with made(FLOWS) as one:
        result = one.run(due, 0.01)
    assert [(flow.offered, flow.offered_bytes) for flow in result.flows] == [(2, 164), (1, 200), (1, 300)]
    assert [(flow.arrived, flow.arrived_bytes) for flow in result.flows] == [(2, 164), (1, 200), (1, 300)]
    assert [flow.by_second for flow in result.flows] == [{0: 164}, {0: 200}, {0: 300}]
    assert [len(flow.arrivals) for flow in result.flows] == [2, 1, 1]
    assert all(0 <= latency < DEADLINE for flow in result.flows for _, latency in flow.arrivals)
    assert (result.seconds, result.refused) == (0.01, 0)
    assert entered == [ord("b"), ord("a"), ord("c"), ord("a"), ord("b"), ord("a")]  # a receiver a VM, a sender a flow


@pytest.mark.usefixtures("entered")
def test_nothing_is_open_after_the_block() -> None:
    one = made(FLOWS)
    with one:
        found = [*one._senders, *one._receivers.values()]
        assert len(found) == 6
        assert one._receivers["b"].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 1 << 17
    assert all(each.fileno() == -1 for each in found)


def test_a_namespace_that_is_gone_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def enter(pid: int) -> Iterator[None]:
        if pid == ord("c"):
            raise FileNotFoundError(pid)
        yield

    monkeypatch.setattr(udp_exchange, "entered", enter)
    one = made(FLOWS)
    with pytest.raises(FileNotFoundError), one:
        pass
    assert len(one._receivers) == 2
    assert all(each.fileno() == -1 for each in one._receivers.values())


@pytest.mark.usefixtures("entered")
def test_a_run_ends_early_when_its_block_does() -> None:
    due = [Datagram(0.0, 0, 64), Datagram(1_000_000.0, 0, 64)]
    with made(FLOWS[:1]) as one, one.running(due, 1_000_000.0) as running:
        until(lambda: running.carried[0].arrived == 1)
        assert 0 <= running.now() < DEADLINE
    assert not running._sender.is_alive()
    assert not running._receiver.is_alive()
    assert running.carried[0].offered == 1


class Socket:
    """A socket that takes a datagram, or does not."""

    def __init__(self, takes: bool = True) -> None:
        self.sent: list[bytes] = []
        self._takes = takes

    def send(self, payload: bytes) -> None:
        if not self._takes:
            raise OSError("no buffer space")
        self.sent.append(payload)


class Clock:
    """A clock that stands still but for what is waited for."""

    def __init__(self) -> None:
        self.at = 1_000_003.0

    def monotonic(self) -> float:
        return self.at


class Quiet(Running):
    """An exchange whose threads do not run: its parts are called by the test, on a clock of its own."""

    def __init__(self, clock: Clock, senders: list[Any], due: list[Datagram], seconds: float) -> None:
        self.carried = [Carried() for _ in senders]
        self._senders, self._receivers = senders, {}
        self._datagrams, self._seconds = due, seconds
        self._late, self._refused = 0.0, 0
        self._ended = self._over = cast(threading.Event, self)
        self.began = clock.at
        self.clock, self.waits, self.over = clock, [], False

    def wait(self, seconds: float) -> bool:  # type: ignore[override]
        """Of the event."""
        self.waits.append(seconds)
        self.clock.at += seconds
        return self.over

    def is_set(self) -> bool:
        return self.over


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(udp_exchange, "time", made)
    return made


@pytest.mark.usefixtures("entered")
def test_waiting_for_a_time_that_has_passed_returns() -> None:
    with made(FLOWS[:1]) as one, one.running([], 0.0) as running:
        running.wait(-5.0)
        running.wait(0.0)


def test_datagrams_are_sent_when_they_are_due_with_their_flow_and_time(clock: Clock) -> None:
    one, other = Socket(), Socket()
    running = Quiet(clock, [one, other], [Datagram(0.5, 0, 64), Datagram(0.5, 1, 100), Datagram(2.0, 0, 64)], 3.0)
    running._send()
    assert running.waits == [0.5, 1.5, 1.0]
    assert [len(payload) for payload in one.sent] == [64, 64]
    assert [len(payload) for payload in other.sent] == [100]
    assert [udp_exchange._HEADER.unpack(payload[:_HEADER]) for payload in one.sent] == [
        (0, 1_000_003.5), (0, 1_000_005.0),
    ]  # fmt: skip
    assert udp_exchange._HEADER.unpack(other.sent[0][:_HEADER]) == (1, 1_000_003.5)
    assert (running._late, running._refused) == (0.0, 0)


def test_how_late_the_latest_was_and_what_was_refused_is_counted(clock: Clock) -> None:
    running = Quiet(clock, [Socket(takes=False)], [Datagram(0.0, 0, 64), Datagram(5.0, 0, 64)], 5.0)
    clock.at += 2.0
    running._send()
    assert (running._late, running._refused) == (2.0, 2)
    assert (running.carried[0].offered, running.carried[0].offered_bytes) == (2, 128)


@pytest.mark.parametrize("due", [0.0, 7.0])
def test_nothing_is_sent_after_the_end(clock: Clock, due: float) -> None:
    running = Quiet(clock, [Socket()], [Datagram(due, 0, 64)], 9.0)
    running.over = True
    running._send()
    assert running.carried[0].offered == 0


def test_arrivals_are_counted_by_second_with_their_latency(clock: Clock) -> None:
    running = Quiet(clock, [Socket(), Socket()], [], 3.0)
    packets = [
        udp_exchange._HEADER.pack(1, 1_000_003.25) + bytes(88), udp_exchange._HEADER.pack(1, 1_000_003.5) + bytes(52),
    ]  # fmt: skip

    def recv(most: int) -> bytes:
        assert most == 2048
        if not packets:
            raise BlockingIOError
        return packets.pop(0)

    clock.at += 1.5
    running._take(cast(socket.socket, SimpleNamespace(recv=recv)))
    one = running.carried[1]
    assert (one.arrived, one.arrived_bytes, one.by_second) == (2, 164, {1: 164})
    assert one.arrivals == [(1.5, 1.25), (1.5, 1.0)]
    assert running.carried[0].arrived == 0


@pytest.mark.parametrize(
    ("counts", "share"), [([], 0.0), ([(0, 0)], 0.0), ([(1, 1)], 1.0), ([(1, 0)], 0.0), ([(4, 1), (1, 1), (0, 0)], 0.4)]
)
def test_the_share_that_arrived_is_of_all_flows_together(counts: list[tuple[int, int]], share: float) -> None:
    flows = [Carried(offered=offered, arrived=arrived) for offered, arrived in counts]
    assert Result(flows, 1.0, 0.0, 0).arrived == share


def test_raw_data_have_a_row_for_each_flow() -> None:
    result = Result([Carried(3, 300, 2, 200, [], {0: 150, 2: 50}), Carried()], 2.5, 0.0, 0)
    assert result.record(FLOWS[:2]) == [
        {
            "src": "a", "dst": "b", "rate_bps": 1e6, "offered": 3, "offered_bytes": 300, "arrived": 2,
            "arrived_bytes": 200, "bytes_by_second": [150, 0, 50],
        },
        {
            "src": "b", "dst": "a", "rate_bps": 2e6, "offered": 0, "offered_bytes": 0, "arrived": 0,
            "arrived_bytes": 0, "bytes_by_second": [0, 0, 0],
        },
    ]  # fmt: skip
