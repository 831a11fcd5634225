"""Packets that are put in front of a switch's tables: the message, the kept connection, and a switch that went."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoverboard.vswitch import packetout
from hoverboard.vswitch.packetout import PacketOut, packet_out

HELLO = bytes([5, 0, 0, 8, 0, 0, 0, 0])


class Bridge:
    """A bridge's management socket; the test reads and answers by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listen()

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.setblocking(False)

    def accept(self) -> socket.socket:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        return connection

    def close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    made = Bridge(tmp_path / "br-int.mgmt")
    yield made
    made.close()


@pytest.fixture
def out(bridge: Bridge) -> Iterator[PacketOut]:
    made = PacketOut(str(bridge.path))
    yield made
    made.close()


def echo(xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", 5, 2, 8 + len(body), xid) + body


def echoed(xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", 5, 3, 8 + len(body), xid) + body


def test_the_message_looks_a_frame_up_as_from_a_port() -> None:
    action = struct.pack("!HHIHHI", 0, 16, 0xFFFFFFF9, 0, 0, 0)
    body = struct.pack("!IIHHI", 0xFFFFFFFF, 100, 16, 0, 0) + action + b"frame"
    assert packet_out(9, 100, b"frame") == struct.pack("!BBHI", 5, 13, 45, 9) + body


def test_packets_go_over_one_connection_behind_a_hello(bridge: Bridge, out: PacketOut) -> None:
    assert out.send(100, b"first")
    assert out.send(101, b"second")
    with bridge.accept() as there:
        assert there.recv(1 << 16) == HELLO + packet_out(1, 100, b"first") + packet_out(2, 101, b"second")
        with pytest.raises(BlockingIOError):
            bridge.accept()


def test_a_switch_that_does_not_read_is_waited_for_a_twentieth_of_a_second(bridge: Bridge, out: PacketOut) -> None:
    assert out.send(100, b"first")
    assert out._socket is not None
    assert out._socket.gettimeout() == 0.05


def test_numbers_of_messages_begin_again(bridge: Bridge, out: PacketOut) -> None:
    out._xid = 0xFFFFFFFE
    assert out.send(1, b"")
    assert out.send(1, b"")
    with bridge.accept() as there:
        assert there.recv(1 << 16) == HELLO + packet_out(0xFFFFFFFF, 1, b"") + packet_out(0, 1, b"")


def test_a_switch_that_is_not_there_takes_nothing(tmp_path: Path) -> None:
    out = PacketOut(str(tmp_path / "br-int.mgmt"))
    assert out.send(100, b"frame") is False
    out.close()
    bridge = Bridge(tmp_path / "br-int.mgmt")
    assert out.send(100, b"frame"), "it is looked for again with each packet"
    out.close()
    bridge.close()


def test_a_switch_that_was_restarted_gets_the_packet_on_a_new_connection(bridge: Bridge, out: PacketOut) -> None:
    assert out.send(100, b"before")
    with bridge.accept() as there:
        there.recv(1 << 16)
        there.sendall(echo(7)[:5])  # the rest never comes
    assert out.send(100, b"after")
    with bridge.accept() as there:
        assert there.recv(1 << 16) == HELLO + packet_out(3, 100, b"after")
        there.sendall(echo(9))
        assert out.send(100, b"next")
        assert there.recv(1 << 16).startswith(echoed(9)), "half a message of the old connection is forgotten"


def test_a_switch_that_breaks_each_connection_is_tried_twice(bridge: Bridge, out: PacketOut) -> None:
    def broken() -> None:
        raise ConnectionResetError

    out._drain = broken  # type: ignore[method-assign]
    assert out.send(100, b"frame") is False
    for _ in range(2):
        with bridge.accept() as there:
            assert there.recv(1 << 16) == HELLO
    with pytest.raises(BlockingIOError):
        bridge.accept()


def test_a_switch_that_went_for_good_takes_nothing(bridge: Bridge, out: PacketOut) -> None:
    assert out.send(100, b"before")
    bridge.accept().close()
    bridge.close()
    assert out.send(100, b"after") is False
    bridge.listen()
    assert out.send(100, b"later")


def test_echo_requests_are_answered_and_all_else_is_passed_over(bridge: Bridge, out: PacketOut) -> None:
    assert out.send(100, b"one")
    with bridge.accept() as there:
        there.recv(1 << 16)
        later = echo(8, b"a longer body")
        there.sendall(HELLO + echo(7, b"body") + struct.pack("!BBHI", 5, 10, 12, 1) + b"news" + later[:6])
        assert out.send(100, b"two")
        assert there.recv(1 << 16) == echoed(7, b"body") + packet_out(2, 100, b"two")
        there.sendall(later[6:15])
        assert out.send(100, b"three")
        assert there.recv(1 << 16) == packet_out(3, 100, b"three")
        there.sendall(later[15:])
        assert out.send(100, b"four")
        assert there.recv(1 << 16) == echoed(8, b"a longer body") + packet_out(4, 100, b"four")


@pytest.mark.parametrize("length", [0, 7])
def test_a_message_of_no_length_is_no_endless_loop(bridge: Bridge, out: PacketOut, length: int) -> None:
    assert out.send(100, b"one")
    with bridge.accept() as there:
        there.recv(1 << 16)
        there.sendall(struct.pack("!BBHI", 5, 2, length, 1) + echo(2))
        assert out.send(100, b"two")
        assert there.recv(1 << 16) == packet_out(2, 100, b"two")


def room_of_a_socket() -> int:
    """Frames of 60,000 bytes that fit the buffer of a usual connection."""
    here, there = socket.socketpair()
    here.setblocking(False)
    count = 0
    try:
        while here.send(bytes(60_000)) == 60_000:
            count += 1
    except BlockingIOError:
        pass
    for one in (here, there):
        one.close()
    return count


def test_a_switch_that_does_not_read_delays_the_host_for_a_moment(
    bridge: Bridge, out: PacketOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packetout, "_PATIENCE", 0.001)
    sent = 0
    while taken := out.send(100, bytes(60_000)):
        sent += 1
        assert sent < 1_000
    assert taken is False
    assert sent > room_of_a_socket(), "the buffer holds more than the usual one"
    with bridge.accept() as there:
        assert out.send(100, b"later"), "half a message does not stay before the next"
        while there.recv(1 << 20):
            pass
    with bridge.accept() as there:
        assert there.recv(1 << 16) == HELLO + packet_out(sent + 2, 100, b"later")


def test_a_host_waits_for_its_switch_no_longer_than_a_twentieth_of_a_second(bridge: Bridge, out: PacketOut) -> None:
    assert out.send(100, b"one")
    assert out._socket is not None
    assert out._socket.gettimeout() == 0.05


def test_closing_twice_is_closing(out: PacketOut) -> None:
    assert out.send(100, b"one")
    out.close()
    out.close()
    assert out.send(100, b"two")
