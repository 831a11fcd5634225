"""The host in memory by itself: frames go in at a port and come out at another, and nothing is left in the pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hoverboard.contract.encapsulation import OUTER_BYTES
from hoverboard.fastpath.memory import ports
from hoverboard.testing.memory_host import NO_VNET, VM, MemoryHost, key_of, to_tunnel, unwrapped

FRAME = bytes(12) + b"\x08\x00" + bytes.fromhex("45000014 00000000 40fd0000 0a000001 0a000002")


@pytest.fixture(scope="module")
def host() -> Iterator[MemoryHost]:
    made = MemoryHost()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def empty(host: MemoryHost) -> None:
    host.reset()


def test_a_frame_goes_by_its_entry_out_at_the_uplink(host: MemoryHost) -> None:
    host.table.update(add=[(key_of(FRAME, 100), to_tunnel())])
    assert host.push(VM, FRAME)
    assert host.serve(VM) == 1
    (sent,) = host.sent(ports.UPLINK)
    assert len(sent.frame) == OUTER_BYTES + len(FRAME)
    assert unwrapped(sent.frame) == FRAME
    assert host.drops() == {}
    assert all(host.all_free(memory) for memory in host.datapath.memories)


def test_a_frame_without_an_entry_waits_for_the_control_thread(host: MemoryHost) -> None:
    host.push(VM, FRAME)
    host.serve(VM)
    (missed,) = host.missed(host.egress)
    assert (missed.port, missed.vnet, missed.frame) == (VM, NO_VNET, FRAME)
    assert host.sent(ports.UPLINK) == []


def test_a_reset_host_is_empty(host: MemoryHost) -> None:
    host.table.update(add=[(key_of(FRAME, 100), to_tunnel())])
    host.push(VM, FRAME)
    host.reset()
    assert (host.serve(VM), host.missed(host.egress), host.sent(ports.UPLINK)) == (0, [], [])
    assert list(host.table.statistics()) == []
