"""Datagrams between host processes by the kernel: two of them on addresses of the loopback device."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.encapsulation import ROUTES_PORT
from hoverboard.host.underlay.datagrams import KernelDatagrams, underlay_socket

ONE, TWO, NO_HOST = (IPv4Address(f"127.77.3.{last}") for last in (1, 2, 3))


class Host:
    """One end, and what it received."""

    def __init__(self, address: IPv4Address) -> None:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((str(address), ROUTES_PORT))
        self.datagrams = KernelDatagrams(made)
        self.arrived: list[tuple[IPv4Address, bytes]] = []

    def datagram_received(self, sender: IPv4Address, payload: bytes) -> None:
        self.arrived.append((sender, payload))

    def readable(self) -> None:
        """Wait for something, and take all there is."""
        ((fd, callback),) = self.datagrams.readers(self.datagram_received).items()
        assert select.select([fd], [], [], 10)[0]
        callback()


@pytest.fixture
def one() -> Iterator[Host]:
    made = Host(ONE)
    yield made
    made.datagrams.close()


@pytest.fixture
def two() -> Iterator[Host]:
    made = Host(TWO)
    yield made
    made.datagrams.close()


def test_what_is_sent_is_received_with_its_sender(one: Host, two: Host) -> None:
    for payload in (b"first", b"second", b"x" * 2048):
        one.datagrams.send(TWO, payload)
    two.readable()
    assert two.arrived == [(ONE, b"first"), (ONE, b"second"), (ONE, b"x" * 2048)]


def test_a_socket_may_be_bound_before_its_address_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """IP_TRANSPARENT needs a capability that tests do not have."""
    calls: list[tuple[object, ...]] = []

    class Recorded:
        def __init__(self, *kind: object) -> None:
            calls.append(kind)

        def setsockopt(self, *option: object) -> None:
            calls.append(option)

        def bind(self, *address: object) -> None:
            calls.append(address)

    monkeypatch.setattr(socket, "socket", Recorded)
    assert isinstance(underlay_socket(ONE), Recorded)
    assert calls == [
        (socket.AF_INET, socket.SOCK_DGRAM), (socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1), ((str(ONE), ROUTES_PORT),),
    ]  # fmt: skip


def test_a_socket_with_nothing_more_is_left_alone(two: Host) -> None:
    ((_fd, callback),) = two.datagrams.readers(two.datagram_received).items()
    callback()
    assert two.arrived == []


def test_a_host_that_is_not_there_costs_nothing(one: Host, two: Host) -> None:
    for _ in range(2):
        one.datagrams.send(NO_HOST, b"hello")
    two.datagrams.send(ONE, b"still here")
    one.readable()
    assert one.arrived == [(TWO, b"still here")]


def test_a_closed_socket_sends_nothing_and_raises_nothing(one: Host) -> None:
    fd = one.datagrams._socket.fileno()
    assert list(one.datagrams.readers(one.datagram_received)) == [fd]
    one.datagrams.close()
    one.datagrams.send(TWO, b"late")
    assert list(one.datagrams.readers(one.datagram_received)) == [-1]
