"""Attaching a VM's process fails at any of its steps, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hoverboard.contract.errors import RunError
from hoverboard.contract.packets import Address
from hoverboard.host.generations import pre, shared_engines
from hoverboard.host.generations.pre import VMM_SOCKET, PrePlane
from hoverboard.host.generations.pre_sockets import SocketGroup
from hoverboard.host.generations.pre_vm_process import PORT
from hoverboard.host.listeners import NO_LISTENER
from hoverboard.host.underlay.datagrams import KernelDatagrams
from hoverboard.rpc.answering import TakesDescriptors, answer_one
from hoverboard.rpc.channel import Channel
from hoverboard.vswitch.ovs import Ovs
from tests.unit.hoverboard.fake_questions import FakeQuestions
from tests.unit.hoverboard.rpc.conftest import DEADLINE, more_than, open_descriptors

LOCAL = IPv4Address("172.16.0.1")


class Sockets:
    """In place of a SocketGroup: no ports of the machine.

    Attributes:
        fails: `add` raises.
    """

    def __init__(self, address: IPv4Address) -> None:
        self.own = socket.socket(socket.AF_UNIX)
        self.vms: dict[str, socket.socket] = {}
        self.fails = False

    def add(self, vm: str, vni: int, addresses: tuple[Address, ...]) -> int:
        if self.fails:
            raise OSError("address already in use")
        self.vms[vm] = socket.socket(socket.AF_UNIX)
        return self.vms[vm].fileno()

    def remove(self, vm: str) -> None:
        self.vms.pop(vm).close()

    def overflows(self, vm: str | None) -> int:
        return 0 if vm is not None else 3

    def close(self) -> None:
        self.own.close()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrePlane]:
    """A host without a fabric and a switch."""
    monkeypatch.setattr(pre, "SocketGroup", Sockets)
    monkeypatch.setattr(pre, "FlowMonitor", lambda *_: SimpleNamespace(close=lambda: None))
    fabric = SimpleNamespace(bind=lambda _: None, close=lambda: None)
    fake = SimpleNamespace(socket=lambda *_: fabric, AF_PACKET=0, SOCK_RAW=0)
    monkeypatch.setattr(pre, "socket", fake)
    datagrams = KernelDatagrams(socket.socket(socket.AF_UNIX))
    questions: Any = FakeQuestions(RunError("no switch"))
    made = PrePlane(Ovs(tmp_path), questions, LOCAL, tmp_path, "up", datagrams, NO_LISTENER)
    yield made
    made.close()


class VmProcess:
    """In place of a VM's process: joins, and waits until its connection is closed.

    Attributes:
        tap: how it calls its tap, once it carries packets.
        fails: it cannot carry packets.
    """

    def __init__(self, path: Path) -> None:
        self.tap: int | None = None
        self.fails = False
        self.ended = threading.Event()
        self._channel = Channel.connect(path, DEADLINE)
        self._channel.send({"method": "join", "params": {"vm": "blue-1"}})
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        if answer_one(self._channel, {"carry": TakesDescriptors(self._carry, 5, 5)}, "blue-1"):
            self._channel.receive_line()
        self._channel.close()
        self.ended.set()

    def _carry(self, fds: object) -> int:
        if self.fails:
            raise RunError("no room")
        self.tap = 42
        return self.tap

    def join(self) -> None:
        self._thread.join(DEADLINE)
        assert self.ended.is_set()


def attach(plane: PrePlane) -> None:
    tap = os.open(os.devnull, os.O_RDONLY)
    try:
        plane.attach("blue-1", "vp100", 100, tap, vni=7, addresses=(IPv4Address("10.0.0.2"),))
    finally:
        os.close(tap)


def fail(*_: object, **__: object) -> None:
    raise OSError("too many open files")


def test_a_vm_whose_process_has_joined_is_attached(plane: PrePlane, tmp_path: Path) -> None:
    process = VmProcess(tmp_path / VMM_SOCKET)
    attach(plane)
    assert (process.tap, list(plane.vms())) == (42, ["blue-1"])
    assert int(plane._vms["blue-1"].datapath.egress.ports[PORT][0]) >= 0
    plane.detach("blue-1")
    process.join()


@pytest.mark.parametrize("step", ["memory", "its size", "socket", "eventfd", "mapping", "tables", "tap"])
def test_a_step_that_fails_leaves_nothing_behind(
    plane: PrePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    sockets: Any = plane._sockets
    process = VmProcess(tmp_path / VMM_SOCKET)
    with monkeypatch.context() as broken:
        match step:
            case "memory":
                broken.setattr(pre, "shared_memory", fail)
            case "its size":
                broken.setattr(shared_engines.os, "ftruncate", fail)
            case "socket":
                sockets.fails = True
            case "eventfd":
                broken.setattr(pre, "VmmProcess", fail)
            case "mapping":
                broken.setattr(pre, "Datapath", fail)
            case "tables":
                broken.setattr(pre, "FlowTable", fail)
            case "tap":
                process.fails = True
        before = open_descriptors()
        with pytest.raises((OSError, RunError)):
            attach(plane)
    process.join()
    gc.collect()
    assert more_than(before) == []
    assert (sockets.vms, plane.vms()) == ({}, {})
    sockets.fails = False
    second = VmProcess(tmp_path / VMM_SOCKET)
    attach(plane)
    plane.detach("blue-1")
    second.join()


def test_a_socket_that_the_kernel_gives_no_program_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[str]] = []

    def program(group: SocketGroup) -> None:
        orders.append(list(group._order))
        if "green-1" in group._sockets:
            raise OSError("too many instructions")

    monkeypatch.setattr(SocketGroup, "_open", lambda _: socket.socket(socket.AF_UNIX))
    monkeypatch.setattr(SocketGroup, "_program", program)
    group = SocketGroup(LOCAL)
    address = IPv4Address("10.0.0.2")
    group.add("blue-1", 7, [address])
    before = open_descriptors()
    with pytest.raises(OSError, match="too many"):
        group.add("green-1", 8, [address])
    assert more_than(before) == []
    group.add("blue-2", 7, [address + 1])
    assert orders[-2:] == [["", "blue-1"], ["", "blue-1", "blue-2"]]
    group.close()
