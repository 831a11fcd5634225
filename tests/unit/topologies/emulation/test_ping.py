"""Pings over one socket for each namespace; the sockets and the namespaces are made up."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from topologies.emulation import ping

Target = tuple[int, Any]


class Net:
    """Namespaces by pid: who answers from there, and what was sent."""

    def __init__(self) -> None:
        self.here = 0
        self.answering: set[str] = set()
        self.sent: list[tuple[int, str]] = []
        self.sockets: list[FakeSocket] = []
        self.deaf = 0  # requests that are lost before one is answered

    @contextlib.contextmanager
    def entered(self, pid: int) -> Iterator[None]:
        self.here = pid
        yield
        self.here = 0

    def socket(self, family: int, kind: int, protocol: int) -> FakeSocket:
        assert (kind, self.here > 0) == (socket.SOCK_RAW, True)
        self.sockets.append(FakeSocket(self, self.here, six=family == socket.AF_INET6))
        return self.sockets[-1]


class FakeSocket:
    """A raw socket: a datagram pair, so that it can be polled."""

    def __init__(self, net: Net, pid: int, *, six: bool) -> None:
        self._net, self._pid, self._six = net, pid, six
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._senders: list[str] = []
        self.closed = False

    def setblocking(self, blocking: bool) -> None:
        self._ours.setblocking(blocking)

    def fileno(self) -> int:
        return self._ours.fileno()

    def close(self) -> None:
        self.closed = True
        self._ours.close()
        self._theirs.close()

    def arrive(self, packet: bytes, sender: str) -> None:
        self._senders.append(sender)
        self._theirs.send(packet)

    def sendto(self, packet: bytes, place: tuple[Any, ...]) -> None:
        self._net.sent.append((self._pid, place[0]))
        if self._net.deaf:
            self._net.deaf -= 1
        elif place[0] in self._net.answering:
            head = b"" if self._six else b"\x45" + bytes(19)
            kind = b"\x81" if self._six else b"\x00"
            self.arrive(head + packet, place[0])  # a raw socket hears requests to its own namespace, too
            link = "%eth0" if self._six and place[0].startswith("fe80") else ""
            self.arrive(head + kind + packet[1:], place[0] + link)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        return self._ours.recv(size), (self._senders.pop(0), 0)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    made = Net()
    monkeypatch.setattr(ping, "entered", made.entered)
    made_up = SimpleNamespace(**{**vars(socket), "socket": made.socket, "if_nametoindex": lambda name: 2})
    monkeypatch.setattr(ping, "socket", made_up)
    return made


def target(pid: int, address: str) -> Target:
    return pid, ip_address(address)


def test_all_that_answer_are_told_and_one_namespace_has_one_socket(net: Net) -> None:
    net.answering = {"10.0.0.1", "10.0.0.3", "fe80::1", "fd00::3"}
    targets = {
        "a": target(7, "10.0.0.1"), "a -> b": target(7, "10.0.0.3"), "b": target(8, "10.0.0.1"),
        "a (IPv6)": target(7, "fe80::1"), "a -> b (IPv6)": target(7, "fd00::3"),
    }  # fmt: skip
    told: list[str] = []
    held = net.sockets
    assert ping.wait_answers(targets, 10.0, told.append) == set()
    assert sorted(told) == sorted(targets)
    assert len(held) == 3
    assert all(one.closed for one in held)


def test_who_does_not_answer_is_named_and_asked_again(net: Net) -> None:
    net.answering = {"10.0.0.3"}
    assert ping.wait_answers({"good": target(7, "10.0.0.3"), "bad": target(7, "10.0.0.4")}, 0.1, interval=0.01) == {
        "bad"
    }
    assert net.sent.count((7, "10.0.0.3")) == 1, "it has answered"
    assert net.sent.count((7, "10.0.0.4")) > 2


def test_a_lost_request_is_sent_again(net: Net) -> None:
    net.answering, net.deaf = {"10.0.0.3"}, 2
    assert ping.wait_answers({"one": target(7, "10.0.0.3")}, 10.0, interval=0.001) == set()
    assert len(net.sent) == 3


def test_two_names_of_one_target_are_both_told(net: Net) -> None:
    net.answering = {"10.0.0.3"}
    told: list[str] = []
    assert ping.wait_answers({"x": target(7, "10.0.0.3"), "y": target(7, "10.0.0.3")}, 10.0, told.append) == set()
    assert told == ["x", "y"]


def test_an_answer_from_elsewhere_is_none(net: Net) -> None:
    net.answering = {"10.0.0.9"}
    assert ping.wait_answers({"one": target(7, "10.0.0.3"), "nine": target(8, "10.0.0.9")}, 0.05) == {"one"}
