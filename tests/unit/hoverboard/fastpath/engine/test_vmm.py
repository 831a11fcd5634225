"""A VMM thread between a tap, here a datagram socket, and the engines' rings."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.engine.vmm import VmmThread
from hoverboard.fastpath.memory import host, packets, ports, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from tests.unit.hoverboard.rpc.conftest import more_than, open_descriptors

PORT = 2
DEADLINE = 60  # seconds: the thread may have to be compiled first


class StillEngines:
    """Engines that never run: their rings are the test's."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)

    def start(self, memories: tuple[Memory, Memory], control_eventfd: int) -> None: ...

    def plug(self, port: int, fd: int, row: NDArray[np.int64]) -> None: ...

    def unplug(self, port: int) -> None: ...

    def share_fd(self, fd: int) -> int:
        return fd

    def unshare_fd(self, number: int) -> None: ...

    def wake(self) -> None: ...

    def close(self) -> None:
        os.close(self.wake_fd)


@pytest.fixture
def rig() -> Iterator[tuple[Datapath, VmmThread, socket.socket, StillEngines]]:
    home = StillEngines()
    datapath = Datapath(home)
    guest, tap = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    guest.settimeout(DEADLINE)
    vmm = VmmThread(datapath, PORT, 100, tap.fileno())
    yield datapath, vmm, guest, home
    if datapath.egress.ports[PORT, ports.KIND] == ports.KIND_RING:
        vmm.close()
    tap.close()
    guest.close()
    home.close()


def test_from_the_guest_to_the_egress_engine(rig: tuple[Datapath, VmmThread, socket.socket, StillEngines]) -> None:
    datapath, _, guest, home = rig
    frame = bytes(packets.VNET_BYTES) + b"x" * 60
    guest.send(frame)
    assert select.select([home.wake_fd], [], [], DEADLINE)[0]
    egress = datapath.egress
    index = egress.side_index[PORT, rings.FROM_VMM]
    assert ring.waiting(index) == 1
    assert int(egress.side_meta[PORT, rings.FROM_VMM, 0, 2]) == len(frame)
    begin = packets.HEADROOM - packets.VNET_BYTES
    assert egress.side_data[PORT, rings.FROM_VMM][begin : begin + len(frame)].tobytes() == frame


def test_both_engines_deliver_to_the_guest(rig: tuple[Datapath, VmmThread, socket.socket, StillEngines]) -> None:
    datapath, _, guest, _ = rig
    for number, memory in enumerate(datapath.memories):
        frame = np.full(packets.VNET_BYTES + 60, number, np.uint8)
        assert ring.push(
            memory.side_index[PORT, rings.TO_VMM],
            memory.side_meta[PORT, rings.TO_VMM],
            memory.side_data[PORT, rings.TO_VMM],
            PORT,
            packets.HEADROOM - packets.VNET_BYTES,
            0,
            0,
            frame,
            0,
            len(frame),
        )
        os.eventfd_write(int(memory.side_wake[PORT, rings.VMM_FD]), 1)
        assert guest.recv(1000) == frame.tobytes()


def test_a_full_ring_holds_the_guest_back_and_loses_nothing(
    rig: tuple[Datapath, VmmThread, socket.socket, StillEngines],
) -> None:
    datapath, _, guest, home = rig
    frames = [bytes(packets.VNET_BYTES) + number.to_bytes(2, "big") * 30 for number in range(100)]
    for frame in frames:
        guest.send(frame)
    index = datapath.egress.side_index[PORT, rings.FROM_VMM]
    meta, data = datapath.egress.side_meta[PORT, rings.FROM_VMM], datapath.egress.side_data[PORT, rings.FROM_VMM]
    got = []
    while len(got) < len(frames):
        if not ring.waiting(index):
            assert select.select([home.wake_fd], [], [], DEADLINE)[0]
            os.eventfd_read(home.wake_fd)
            continue
        begin = int(ring.slot_at(index, meta)) * packets.SLOT_BYTES + packets.HEADROOM - packets.VNET_BYTES
        got.append(data[begin : begin + len(frames[0])].tobytes())
        ring.release(index)
    assert got == frames


def test_a_tap_that_cannot_be_polled_leaves_nothing() -> None:
    home = StillEngines()
    datapath = Datapath(home)
    before = open_descriptors()
    with open("/dev/null", "rb") as null, pytest.raises(PermissionError):
        VmmThread(datapath, PORT, 100, null.fileno())
    assert more_than(before) == []
    assert datapath.egress.ports[PORT, ports.KIND] == ports.KIND_NONE
    home.close()


def test_closing_leaves_nothing(rig: tuple[Datapath, VmmThread, socket.socket, StillEngines]) -> None:
    datapath, vmm, _, _ = rig
    assert datapath.egress.ports[PORT, ports.KIND] == ports.KIND_RING
    assert datapath.egress.host[host.SIDES] == 1
    fd = int(datapath.egress.side_wake[PORT, rings.VMM_FD])
    assert vmm.cpu_seconds() >= 0
    vmm.close()
    assert vmm.cpu_seconds() == 0.0  # no such thread
    assert datapath.egress.ports[PORT, ports.KIND] == ports.KIND_NONE
    assert datapath.egress.host[host.SIDES] == 0
    assert [int(memory.side_wake[PORT, rings.VMM_FD]) for memory in datapath.memories] == [-1, -1]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert not any(memory.side_index[PORT].any() for memory in datapath.memories)
