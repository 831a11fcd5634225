"""Receive from a descriptor: a socket that keeps frames apart stands in for the tap."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from hoverboard.fastpath.elements.receive import receive, vnic_receive
from hoverboard.fastpath.memory import control, packets, ports, rings
from hoverboard.testing.memory_host import OTHER_VM, VM, MemoryHost, vnet
from tests.unit.hoverboard.packets import Raw, frame

BIG = 40_000


@pytest.fixture
def guest(host: MemoryHost) -> Iterator[socket.socket]:
    """The other end of the VM's tap."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_blocking(ours.fileno(), False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    row = host.egress.ports[VM]
    row[ports.KIND], row[ports.FD] = ports.KIND_TAP, ours.fileno()
    host.egress.ctl[control.BATCH] = rings.SIDE_SLOTS
    yield theirs
    row[ports.KIND], row[ports.FD] = ports.KIND_RING, -1
    host.egress.ctl[control.BATCH] = rings.SIDE_SLOTS
    for one in (ours, theirs):
        one.close()


def test_an_empty_tap_gives_nothing(host: MemoryHost, guest: socket.socket) -> None:
    host.egress.ctl[control.MORE] = 1
    assert receive(host.egress, VM) == 0
    assert not host.egress.ctl[control.MORE]
    assert host.all_free(host.egress)
    assert not host.egress.port_stats.any()


def test_frames_come_into_the_pool_whole_and_in_order(host: MemoryHost, guest: socket.socket) -> None:
    frames = [frame(Raw(bytes([number]) * (10 + number))) for number in range(5)]
    for number, data in enumerate(frames):
        guest.send(vnet(offset=number) + data)
    m = host.egress
    assert receive(m, VM) == 5
    assert not m.ctl[control.MORE], "the tap was read until it was empty"
    assert len(set(m.batch[:5].tolist())) == 5
    for number, data in enumerate(frames):
        slot = int(m.batch[number])
        packet = m.packets[slot]
        begin = int(packet[packets.START])
        assert begin == packet[packets.FRAME] == slot * packets.SLOT_BYTES + packets.HEADROOM
        assert host.frame(m, slot, packets.START, packets.TOTAL) == host.frame(m, slot, packets.FRAME) == data
        assert m.pool[begin - packets.VNET_BYTES : begin].tobytes() == vnet(offset=number)
        assert packet[[packets.LENGTH, packets.VNET, packets.PORT, packets.TUNNEL, packets.STAGED]].tolist() == [
            len(data),
            1,
            VM,
            0,
            0,
        ]
    assert m.port_stats[VM].tolist() == [5, sum(map(len, frames)), 0, 0]
    assert m.ctl[control.FREE] == packets.POOL_SLOTS - 5
    assert set(m.batch[:5].tolist()).isdisjoint(m.free[: packets.POOL_SLOTS - 5].tolist())


def test_the_batch_is_no_longer_than_its_limit_and_there_may_be_more(host: MemoryHost, guest: socket.socket) -> None:
    host.egress.ctl[control.BATCH] = 4
    for _ in range(6):
        guest.send(vnet() + frame())
    assert receive(host.egress, VM) == 4
    assert host.egress.ctl[control.MORE]
    assert receive(host.egress, VM) == 2
    assert not host.egress.ctl[control.MORE]
    assert host.egress.port_stats[VM, 0] == 6, "counts add up"


def test_a_batch_of_segments_ends_by_its_bytes(host: MemoryHost, guest: socket.socket) -> None:
    segment = frame(Raw(bytes(BIG)))
    for _ in range(4):
        guest.send(vnet() + segment)
    assert receive(host.egress, VM) == 2 == -(-control.BATCH_BYTES // (packets.VNET_BYTES + len(segment)))
    assert host.egress.ctl[control.MORE]
    assert receive(host.egress, VM) == 2


def test_the_largest_frame_fits_its_slot(host: MemoryHost, guest: socket.socket) -> None:
    guest.send(vnet() + frame().ljust(packets.FRAME_MAX, b"\0"))
    assert receive(host.egress, VM) == 1
    assert host.egress.packets[host.egress.batch[0], packets.LENGTH] == packets.FRAME_MAX


def test_a_full_pool_leaves_frames_in_the_tap(host: MemoryHost, guest: socket.socket) -> None:
    for _ in range(3):
        guest.send(vnet() + frame())
    m = host.egress
    m.ctl[control.FREE] = 1
    assert receive(m, VM) == 1
    assert (m.ctl[control.MORE], m.ctl[control.FREE]) == (1, 0)
    assert receive(m, VM) == 0
    m.ctl[control.FREE] = packets.POOL_SLOTS
    assert receive(m, VM) == 2


def test_a_header_without_a_frame_ends_the_batch(host: MemoryHost, guest: socket.socket) -> None:
    guest.send(vnet())
    assert receive(host.egress, VM) == 0
    assert host.all_free(host.egress)
    guest.send(vnet() + b"x")
    assert receive(host.egress, VM) == 1
    assert host.egress.packets[host.egress.batch[0], packets.LENGTH] == 1


def test_each_port_reads_its_own(host: MemoryHost, guest: socket.socket) -> None:
    guest.send(vnet() + frame())
    host.push(OTHER_VM, frame(Raw(b"other")))
    assert vnic_receive(host.egress, OTHER_VM) == 1
    assert vnic_receive(host.egress, VM) == 1
    assert host.egress.port_stats[:, 0].tolist()[VM : OTHER_VM + 1] == [1, 1]
