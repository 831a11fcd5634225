"""A link between two sockets: what goes in comes out, whole, in order, and as the properties say."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.link.link_memory import VNET_BYTES
from hoverboard.fastpath.link.link_thread import LinkThread
from tests.unit.hoverboard.rpc.conftest import open_descriptors
from tests.waiting import until

TIMEOUT = 10.0


class Joined:
    """Two ends, and the link between them."""

    def __init__(self) -> None:
        self.near, inner_near = self._pair()
        self.far, inner_far = self._pair()
        self.link = LinkThread(inner_near.detach(), inner_far.detach())

    @staticmethod
    def _pair() -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            end.settimeout(TIMEOUT)
        return pair

    def close(self) -> None:
        self.link.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def joined() -> Iterator[Joined]:
    made = Joined()
    yield made
    made.close()


def packet(number: int, size: int = 100) -> bytes:
    return bytes(VNET_BYTES) + number.to_bytes(4, "big").ljust(size, bytes([number % 256]))


def test_packets_pass_whole_in_both_directions(joined: Joined) -> None:
    joined.link.set_properties(LinkProperties(delay=0.001))
    joined.link.start()
    sizes = (14, 1450, 64_000, 65_535)
    for number, size in enumerate(sizes):
        joined.near.send(packet(number, size))
        joined.far.send(packet(number + 10, size))
    for number, size in enumerate(sizes):
        assert joined.far.recv(70_000) == packet(number, size)
        assert joined.near.recv(70_000) == packet(number + 10, size)
    out, back = joined.link.counters()
    assert out == back
    assert (out["packets"], out["sent"], out["waiting"]) == (4, 4, 0)
    assert joined.link.cpu_seconds() > 0


def test_packets_stay_in_order_while_many_come(joined: Joined) -> None:
    joined.link.set_properties(LinkProperties(delay=0.002, jitter=0.002))
    joined.link.start()
    count, got = 2000, []
    for number in range(count):
        joined.near.send(packet(number))
        if number % 50 == 49:
            got += [joined.far.recv(200) for _ in range(50)]
    assert got == [packet(number) for number in range(count)]


def test_a_packet_that_overtakes_comes_before_the_others(joined: Joined) -> None:
    joined.link.set_properties(LinkProperties(delay=60, reorder=0.5, seed=3))
    joined.link.start()
    for number in range(20):
        joined.near.send(packet(number))
    until(lambda: joined.link.counters()[0]["packets"] == 20, TIMEOUT, "not all packets have arrived")
    found = joined.link.counters()[0]
    got = [joined.far.recv(200) for _ in range(found["reordered"])]
    assert got == sorted(set(got))
    assert 0 < len(got) == 20 - found["waiting"] < 20
    assert got[-1] > packet(len(got) - 1)  # it is not the first ones that overtake


def test_properties_change_while_packets_are_inside(joined: Joined) -> None:
    joined.link.set_properties(LinkProperties(delay=60))
    joined.link.start()
    joined.near.send(packet(1))
    until(lambda: joined.link.counters()[0]["waiting"] == 1, TIMEOUT, "the packet is not inside")
    joined.link.set_properties(LinkProperties(loss=1.0))
    joined.near.send(packet(2))
    until(lambda: joined.link.counters()[0]["lost"] == 1, TIMEOUT, "the second packet is not lost")
    assert joined.link.counters()[0]["waiting"] == 1


def test_copies_arrive(joined: Joined) -> None:
    joined.link.set_properties(LinkProperties(duplicate=1.0))
    joined.link.start()
    joined.near.send(packet(1))
    assert [joined.far.recv(200) for _ in range(2)] == [packet(1)] * 2


def test_what_cannot_be_sent_is_counted(joined: Joined) -> None:
    joined.link.set_properties(LinkProperties())
    joined.far.close()
    joined.link.start()
    joined.near.send(packet(1))
    until(lambda: joined.link.counters()[0]["failed"] == 1, TIMEOUT, "the failure is not counted")


def test_a_link_leaves_no_descriptor(joined: Joined) -> None:
    before = open_descriptors()
    other = Joined()
    other.link.start()
    other.close()
    assert open_descriptors() == before


def test_a_descriptor_that_cannot_be_polled_is_refused(tmp_path: Path) -> None:
    before = open_descriptors()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with pytest.raises(PermissionError):
        LinkThread(file, os.eventfd(0))
    assert open_descriptors() == before
