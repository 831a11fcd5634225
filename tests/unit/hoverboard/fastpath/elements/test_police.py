"""The capacity of a Hoverboard: so many packets, or bytes, a second go through; the rest is dropped by name."""

from __future__ import annotations

import pytest

from hoverboard.fastpath.elements.police import AHEAD_NS, police
from hoverboard.fastpath.memory import control, packets, ports, reasons
from hoverboard.testing.memory_host import VM

START = 1_000_003 * 10**9 + 7  # ns
MS = 10**6


@pytest.fixture
def ingress(host):
    m = host.ingress
    words = (control.PACKET_NS, control.KILOBYTE_NS, control.PACKETS_DUE, control.BYTES_DUE)
    m.ctl[list(words)] = 0
    yield m
    m.ctl[list(words)] = 0


def batch(m, count: int, length: int = 1_000, port: int = ports.UPLINK, staged: int = 0) -> int:
    """A batch of packets in the pool, as the receiving element leaves them."""
    for at in range(count):
        m.ctl[control.FREE] -= 1
        slot = int(m.free[m.ctl[control.FREE]])
        m.batch[at] = slot
        m.packets[slot, packets.PORT], m.packets[slot, packets.TOTAL], m.packets[slot, packets.STAGED] = (
            port,
            length,
            staged,
        )
    return count


def police_at(m, n: int, now: int) -> int:
    """How many packets of a batch are left at a time (ns)."""
    m.ctl[control.NOW] = now
    return int(police(m, n))


def test_without_a_limit_everything_passes(ingress):
    n = batch(ingress, 64)
    order = ingress.batch[:64].tolist()
    assert police(ingress, n) == 64
    assert ingress.batch[:64].tolist() == order
    assert ingress.drops[reasons.CAPACITY] == 0
    assert not ingress.ctl[[control.PACKETS_DUE, control.BYTES_DUE]].any(), "nothing is counted"


def test_packets_a_second(ingress):
    ingress.ctl[control.PACKET_NS] = MS  # 1,000 a second
    n = batch(ingress, 64)
    order = ingress.batch[:64].tolist()
    assert police_at(ingress, n, START) == 11 == AHEAD_NS // MS + 1  # the last one ends the work of 10 ms
    assert ingress.batch[:11].tolist() == order[:11]
    assert ingress.drops[reasons.CAPACITY] == 64 - 11
    assert police_at(ingress, batch(ingress, 8), START + MS - 1) == 0
    assert police_at(ingress, batch(ingress, 8), START + 6 * MS) == 6
    assert ingress.ctl[control.PACKETS_DUE] == START + 17 * MS
    assert police_at(ingress, batch(ingress, 64), START + 3600 * 10**9) == 11, "an idle hour is no credit"


def test_bytes_a_second(ingress):
    ingress.ctl[control.KILOBYTE_NS] = MS  # 1,024,000 bytes a second
    assert police_at(ingress, batch(ingress, 64, 2_048), START) == 6
    assert police_at(ingress, batch(ingress, 8, 2_048), START) == 0
    assert ingress.ctl[control.BYTES_DUE] == START + 12 * MS
    assert police_at(ingress, batch(ingress, 8, 512), START + 3 * MS) == 3, "a smaller packet is less work"


@pytest.mark.parametrize(("packet_ns", "kilobyte_ns", "kept"), [(MS, 4 * MS, 3), (5 * MS, MS, 3), (2 * MS, 2 * MS, 6)])
def test_the_narrower_of_two_limits_decides(ingress, packet_ns, kilobyte_ns, kept):
    ingress.ctl[[control.PACKET_NS, control.KILOBYTE_NS]] = packet_ns, kilobyte_ns
    assert police_at(ingress, batch(ingress, 64, 1_024), START) == kept


def test_only_what_the_fabric_brings_is_counted(ingress):
    ingress.ctl[control.PACKET_NS] = MS
    ingress.ctl[control.PACKETS_DUE] = due = START + AHEAD_NS + 1
    assert police_at(ingress, batch(ingress, 4, port=VM), START) == 4
    assert police_at(ingress, batch(ingress, 4, staged=1), START) == 4
    assert ingress.ctl[control.PACKETS_DUE] == due
    assert police_at(ingress, batch(ingress, 4), START) == 0
