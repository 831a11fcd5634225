"""A load of new flows: its datagrams, its window, its ends, and what became of it; with sockets that are made up."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import new_flows
from benchmarks.new_flows import FIRST_PORT, Arrivals, Ends
from hoverboard.contract.errors import MeasurementError

SRC, DST = IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")


def test_a_datagram_of_a_load() -> None:
    packet = new_flows.datagram(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 4711, 53, 7)
    assert len(packet) == 36
    version, _, length, _, _, ttl, protocol = struct.unpack("!BBHHHBB", packet[:10])
    assert (version, length, ttl, protocol) == (0x45, 36, 64, 17)
    assert packet[12:20] == bytes([10, 0, 0, 1, 10, 0, 0, 2])
    assert struct.unpack("!HHHH", packet[20:28]) == (4711, 53, 16, 0)
    assert struct.unpack("!Q", packet[28:])[0] == 7


def test_flows_a_second_are_those_that_arrived() -> None:
    assert Arrivals(10, 2.0, [0.01] * 8).per_second == 4.0


class Wire:
    """What was sent arrives ten at a time at the next look, 10 ms later; numbers in `lost` do not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lost: frozenset[int] = frozenset()) -> None:
        self.at, self.sent, self.waiting, self.most = 1_000_003.0, [], [], 0
        self.ports: list[int] = []
        self._lost = lost
        monkeypatch.setattr(new_flows, "time", SimpleNamespace(monotonic=lambda: self.at))
        monkeypatch.setattr(new_flows, "select", SimpleNamespace(select=self._select))
        receiver = SimpleNamespace(getsockname=lambda: ("", 53), recv=self._recv)
        self.ends = Ends(
            cast(socket.socket, SimpleNamespace(sendto=self._send)), cast(socket.socket, receiver), SRC, DST
        )

    def _send(self, packet: bytes, where: tuple[str, int]) -> None:
        assert where == (str(DST), 0)
        source, port = struct.unpack("!HH", packet[20:24])
        assert port == 53
        number = struct.unpack("!Q", packet[28:])[0]
        self.ports.append(source)
        self.sent.append(number)
        if number not in self._lost:
            self.waiting.append(number)
        self.most = max(self.most, len(self.waiting))

    def _select(self, *given: Any) -> tuple[list[int], list[int], list[int]]:
        if not self.waiting:
            self.at += given[3]
            return [], [], []
        self.at += 0.01
        self._ready = 10
        return [1], [], []

    def _recv(self, size: int) -> bytes:
        if not self.waiting or not self._ready:
            raise BlockingIOError
        self._ready -= 1
        return struct.pack("!Q", self.waiting.pop(0))


def test_no_more_flows_than_the_window_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch)
    found = new_flows.drive(wire.ends, 0.095, 20)
    # Twenty at once, then ten at each of ten looks until the time is up; the last twenty arrive in two more.
    assert (wire.most, found.sent, len(found.latencies)) == (20, 110, 110)
    assert found.seconds == pytest.approx(0.11)
    assert found.latencies[:10] == pytest.approx([0.01] * 10)
    assert found.latencies[10:] == pytest.approx([0.02] * 100)
    assert wire.ports == list(range(FIRST_PORT, FIRST_PORT + 110))


def test_what_is_lost_makes_room_after_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(monkeypatch, lost=frozenset({0, 3}))
    found = new_flows.drive(wire.ends, 0.6, 4)
    assert found.sent - len(found.latencies) == 2
    assert found.sent > 4
    with pytest.raises(MeasurementError, match="none of 4 new flows was forwarded"):
        new_flows.drive(Wire(monkeypatch, lost=frozenset(range(99))).ends, 0.1, 4)


def test_a_port_is_good_for_each_source_port_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_flows, "LAST_PORT", FIRST_PORT + 24)
    found = new_flows.drive(Wire(monkeypatch).ends, 1e9, 10)
    assert (found.sent, len(found.latencies)) == (25, 25)


def test_ends_are_in_the_vms_namespaces_and_closed_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[int] = []
    real = socket.socket

    @contextlib.contextmanager
    def enter(pid: int) -> Iterator[None]:
        entered.append(pid)
        yield

    asked: list[tuple[int, ...]] = []

    def make(*given: int) -> socket.socket:
        asked.append(given)
        return real(socket.AF_INET, socket.SOCK_DGRAM)

    monkeypatch.setattr(new_flows, "entered", enter)
    monkeypatch.setattr(new_flows.socket, "socket", make)
    with new_flows.ends(11, SRC, 12, DST) as found:
        assert found.receiver.getsockname()[0] == str(DST)
        assert not found.receiver.getblocking()
        assert (found.src, found.dst) == (SRC, DST)
        made = [found.sender, found.receiver]
    assert (entered, asked[0]) == ([11, 12], (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
    assert [one.fileno() for one in made] == [-1, -1]
