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

PORT, OFPORT = 2, 100


@pytest.fixture
def tap() -> Iterator[socket.socket]:
    """What stands for a virtual NIC."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield theirs
    ours.close()
    theirs.close()


def test_an_engine_hears_of_a_port_that_it_can_read(monkeypatch: pytest.MonkeyPatch, tap: socket.socket) -> None:
    """The engine gets one event, at the edge: without a descriptor at that time, a full port is never served."""
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
