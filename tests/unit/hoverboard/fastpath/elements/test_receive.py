"""Receive and rate limiter: what waits at a port goes into the pool, in order, a batch at a time."""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.elements.ratelimit import allowed, charge, refill
from hoverboard.fastpath.elements.receive import receive, vnic_receive
from hoverboard.fastpath.memory import control, packets, ports, rings
from hoverboard.testing.memory_host import OTHER_VM, VM, vnet
from tests.unit.hoverboard.packets import Raw, frame

START = 1_000_003 * 10**9 + 7  # ns
MS = 10**6


def test_an_empty_port_gives_nothing(host):
    assert receive(host.egress, VM) == 0
    assert not host.egress.ctl[control.MORE]


def test_frames_come_into_the_pool_whole_and_in_order(host):
    frames = [frame(Raw(bytes([number]) * (10 + number))) for number in range(5)]
    for number, data in enumerate(frames):
        host.push(VM, data, vnet(offset=number))
    m = host.egress
    assert receive(m, VM) == 5
    for number, data in enumerate(frames):
        slot = int(m.batch[number])
        packet = m.packets[slot]
        assert host.frame(m, slot, packets.START, packets.TOTAL) == data
        begin = int(packet[packets.START])
        assert m.pool[begin - packets.VNET_BYTES : begin].tobytes() == vnet(offset=number)
        assert [
            int(packet[word]) for word in (packets.LENGTH, packets.VNET, packets.PORT, packets.TUNNEL, packets.STAGED)
        ] == [
            len(data),
            1,
            VM,
            0,
            0,
        ]
    assert list(m.port_stats[VM]) == [5, sum(map(len, frames)), 0, 0]
    assert m.ctl[control.FREE] == packets.POOL_SLOTS - 5


def test_the_batch_is_no_longer_than_its_limit(host):
    for _ in range(10):
        host.push(VM, frame())
    host.egress.ctl[control.BATCH] = 4
    try:
        assert [receive(host.egress, VM) for _ in range(4)] == [4, 4, 2, 0]
    finally:
        host.egress.ctl[control.BATCH] = rings.SIDE_SLOTS


def test_more_says_whether_to_come_back(host):
    for _ in range(3):
        host.push(VM, frame())
    host.egress.ctl[control.BATCH] = 2
    try:
        receive(host.egress, VM)
        assert host.egress.ctl[control.MORE]
        receive(host.egress, VM)
        assert not host.egress.ctl[control.MORE]
    finally:
        host.egress.ctl[control.BATCH] = rings.SIDE_SLOTS


def test_a_batch_of_segments_ends_by_its_bytes(host):
    segment = frame(Raw(bytes(40_000)))
    for _ in range(4):
        host.push(VM, segment)
    assert receive(host.egress, VM) == 2 == -(-control.BATCH_BYTES // len(segment))


def test_a_full_pool_leaves_frames_in_their_ring(host):
    for _ in range(3):
        host.push(ports.UPLINK, frame())
    host.ingress.ctl[control.FREE] = 1
    assert receive(host.ingress, ports.UPLINK) == 1
    assert host.ingress.ctl[control.MORE]
    assert receive(host.ingress, ports.UPLINK) == 0


def test_a_full_ring_refuses(host):
    assert [host.push(VM, frame()) for _ in range(rings.SIDE_SLOTS + 1)] == [True] * rings.SIDE_SLOTS + [False]


def limit(host, rate, burst):
    row = host.egress.ports[VM]
    row[ports.RATE], row[ports.BURST], row[ports.TOKENS], row[ports.FILLED] = rate, burst, burst, 0
    return row


def test_without_a_rate_a_vm_is_always_served(host):
    assert allowed(host.egress, VM)
    charge(host.egress, VM, 0)
    assert host.egress.ports[VM, ports.TOKENS] == 0


def test_tokens_come_with_time_and_fill_no_more_than_the_bucket():
    row = np.zeros(8, np.int64)
    row[ports.RATE], row[ports.BURST], row[ports.FILLED] = 1_000_000, 5_000, 1_000
    assert refill(row, 1_000 + 1_000_000) == 1_000  # 1 ms at 1 MB/s
    assert refill(row, 1_000 + 1_000_500) == 1_000  # half a byte: kept for later
    assert refill(row, 1_000 + 1_001_000) == 1_001
    assert refill(row, 60_000_000_000) == 5_000
    row[ports.RATE], row[ports.TOKENS], row[ports.FILLED] = 12_500_000_000, -9, 0
    assert refill(row, 400 * 86_400 * 10**9) == 5_000  # idle for a year at 100 Gbit/s: no overflow
    assert refill(row, 0) == 5_000  # a clock that went back gives nothing


def test_a_vm_waits_until_the_engines_clock_says_that_its_next_token_is_there(host):
    m, row = host.egress, limit(host, rate=1_000, burst=50)
    row[ports.TOKENS], row[ports.FILLED] = -3, START
    m.ctl[control.NOW] = START
    assert not allowed(m, VM)
    assert m.ctl[control.DUE] == START + 4 * MS + 1
    m.ctl[control.NOW] = m.ctl[control.DUE]
    assert allowed(m, VM)
    assert (row[ports.TOKENS], m.ctl[control.DUE]) == (1, 0)


def test_a_vm_over_its_rate_waits_and_loses_nothing(host):
    row = limit(host, rate=10, burst=50)  # no token comes: nothing moves the engine's clock
    for _ in range(3):
        host.push(VM, frame())
    host.egress.ctl[control.BATCH] = 2
    try:
        assert vnic_receive(host.egress, VM) == 2  # a bucket of 50 lets one batch pass, whatever its size
        assert row[ports.TOKENS] <= 50 - 2 * len(frame()) + 1
        assert vnic_receive(host.egress, VM) == 0
        assert host.egress.ctl[control.MORE]
        assert host.egress.ctl[control.DUE] > 0
        row[ports.RATE] = 0
        assert vnic_receive(host.egress, VM) == 1
        assert host.egress.ctl[control.DUE] == 0
    finally:
        host.egress.ctl[control.BATCH] = rings.SIDE_SLOTS


def test_another_vm_is_not_held_back(host):
    limit(host, rate=10, burst=1)[ports.TOKENS] = -1_000
    host.egress.ports[VM, ports.FILLED] = 1 << 62
    host.push(OTHER_VM, frame())
    assert vnic_receive(host.egress, OTHER_VM) == 1
