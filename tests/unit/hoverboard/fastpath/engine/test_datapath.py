"""A host's engines as its control thread sees them: when they hear of a port, and who hears of frames sent here."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.engine.threads import EngineThread
from hoverboard.fastpath.memory import host, packets, ports, rings
from tests.unit.hoverboard.rpc.conftest import more_than, open_descriptors

PORT, OFPORT = 2, 100


@pytest.fixture
def tap() -> Iterator[socket.socket]:
    """A socket in place of a virtual NIC."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield theirs
    ours.close()
    theirs.close()


def test_an_engine_hears_of_a_port_that_it_can_read(monkeypatch: pytest.MonkeyPatch, tap: socket.socket) -> None:
    """Check the row of a port at its only event: without a descriptor then, a full port is never served."""
    datapath = Datapath()
    events: list[tuple[int, list[int]]] = []

    def watch(_thread: EngineThread, _host: int, port: int, fd: int) -> None:
        row = datapath.egress.ports[port]
        events.append((fd, row[[ports.FD, ports.KIND, ports.OFPORT]].tolist()))
        assert datapath.egress.host[host.PORTS] > port

    monkeypatch.setattr(EngineThread, "watch", watch)
    datapath.set_port(PORT, tap.fileno(), OFPORT)
    ((fd, row),) = events
    assert row == [fd, ports.KIND_TAP, OFPORT]
    assert fd != tap.fileno()
    assert os.path.sameopenfile(fd, tap.fileno())
    datapath.stop()


def plugged(datapath: Datapath) -> tuple[int, int, int]:
    """The descriptor, the kind and the OpenFlow port of PORT."""
    row = datapath.egress.ports[PORT]
    return int(row[ports.FD]), int(row[ports.KIND]), int(row[ports.OFPORT])


@pytest.mark.parametrize("served", [False, True])
def test_a_descriptor_that_cannot_be_polled_changes_nothing(tap: socket.socket, served: bool) -> None:
    datapath = Datapath()
    if served:
        datapath.set_port(PORT, tap.fileno(), OFPORT)
    before, opened = plugged(datapath), open_descriptors()
    with open("/dev/null", "rb") as null, pytest.raises(PermissionError):
        datapath.set_port(PORT, null.fileno(), OFPORT + 1)
    assert plugged(datapath) == before
    assert more_than(opened) == []
    if served:
        assert os.path.sameopenfile(before[0], tap.fileno())
    datapath.clear_port(PORT)
    datapath.stop()


def test_a_descriptor_takes_the_place_of_an_earlier_one_which_is_closed(tap: socket.socket) -> None:
    before = open_descriptors()
    datapath = Datapath()
    reader, writer = os.pipe()
    datapath.set_port(PORT, writer)
    os.close(writer)
    datapath.set_port(PORT, tap.fileno(), OFPORT)
    assert os.read(reader, 1) == b""  # no copy is left
    assert os.path.sameopenfile(plugged(datapath)[0], tap.fileno())
    os.close(reader)
    datapath.stop()
    assert more_than(before) == []


class Answers:
    """Remembers the frames that were sent."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []

    def answered(self, port: int, frame: bytes) -> None:
        self.frames.append((port, frame))


def test_a_listener_hears_of_frames_that_no_element_sees() -> None:
    answers = Answers()
    datapath = Datapath(local_ip=IPv4Address("172.16.0.1"), answers=answers)
    header = bytes(packets.VNET_BYTES)
    assert datapath.inject(PORT, header + b"an answer", rings.INJECT_RAW)
    assert datapath.inject(ports.UPLINK, header + b"a probe", rings.INJECT_RAW)
    assert datapath.inject(PORT, header + b"treated as if it had come in", rings.INJECT_PROCESS)
    assert answers.frames == [(PORT, b"an answer"), (ports.UPLINK, b"a probe")]
    assert datapath.ingress.host[host.IP] == 0xAC100001
    datapath.stop()
