"""The capacity of a Hoverboard: so many packets, or bytes, a second go through; the rest is dropped by name."""

from __future__ import annotations

import time

import pytest

from hoverboard.fastpath.elements.police import AHEAD_NS, police
from hoverboard.fastpath.layout import (
    CTL_BYTES_DUE,
    CTL_FREE,
    CTL_KILOBYTE_NS,
    CTL_PACKET_NS,
    CTL_PACKETS_DUE,
    P_PORT,
    P_STAGED,
    P_TOTAL,
    R_CAPACITY,
    UPLINK,
)
from tests.unit.hoverboard.memory_host import VM


@pytest.fixture
def ingress(host):
    m = host.ingress
    words = (CTL_PACKET_NS, CTL_KILOBYTE_NS, CTL_PACKETS_DUE, CTL_BYTES_DUE)
    m.ctl[list(words)] = 0
    yield m
    m.ctl[list(words)] = 0


def batch(m, count: int, length: int = 1_000, port: int = UPLINK, staged: int = 0) -> int:
    """A batch of packets in the pool, as the receiving element leaves them."""
    for at in range(count):
        m.ctl[CTL_FREE] -= 1
        slot = int(m.free[m.ctl[CTL_FREE]])
        m.batch[at] = slot
        m.packets[slot, P_PORT], m.packets[slot, P_TOTAL], m.packets[slot, P_STAGED] = port, length, staged
    return count


def test_without_a_limit_everything_passes(ingress):
    assert police(ingress, batch(ingress, 64)) == 64
    assert ingress.drops[R_CAPACITY] == 0


def test_packets_a_second(ingress):
    ingress.ctl[CTL_PACKET_NS] = 1_000_000  # 1,000 a second
    burst = AHEAD_NS // 1_000_000
    kept = police(ingress, batch(ingress, 64))
    assert burst <= kept <= burst + 2
    assert ingress.drops[R_CAPACITY] == 64 - kept
    deadline = time.monotonic_ns() + 6_000_000
    while time.monotonic_ns() < deadline:
        pass
    again = police(ingress, batch(ingress, 64))
    assert 5 <= again <= 64
    assert again < 40


def test_bytes_a_second(ingress):
    ingress.ctl[CTL_KILOBYTE_NS] = 1_000_000  # 1,024,000 bytes a second
    assert 5 <= police(ingress, batch(ingress, 64, 2_048)) <= 7
    assert police(ingress, batch(ingress, 8, 2_048)) <= 1


def test_only_what_the_fabric_brings_is_counted(ingress):
    ingress.ctl[CTL_PACKET_NS] = 1_000_000_000
    ingress.ctl[CTL_PACKETS_DUE] = time.monotonic_ns() + 10_000_000_000
    assert police(ingress, batch(ingress, 4, port=VM)) == 4
    assert police(ingress, batch(ingress, 4, staged=1)) == 4
    assert police(ingress, batch(ingress, 4)) == 0
