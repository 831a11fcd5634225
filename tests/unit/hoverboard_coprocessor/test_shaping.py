"""Shaping: conformance to rate and burst, nothing lost below the bound, order, fairness."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.stages.wan_shaping import Bucket, WanShaping
from tests.unit.hoverboard_coprocessor.fakes import IP, UDP, Clock, Raw, context, ethernet, packet

BURST = 65_600
FLOWS = [ethernet(IP(src="10.0.0.1", dst="10.0.0.2"), UDP(sport=port, dport=9) / Raw(b"")) for port in range(3)]


def stage(clock, **config):
    regions = {"172.16.0.2": "europe", "172.16.0.3": "asia"}
    return WanShaping(context(clock, region_of=lambda peer: regions.get(str(peer))), {"burst_bytes": BURST, **config})


def sized(size, flow=0, ticket=None):
    return packet(FLOWS[flow].ljust(size, b"\0"), ticket=ticket)


def conforms(out, rate):
    """In no interval more than rate * t + burst bytes; `out` is [(time, bytes)]."""
    for first in range(len(out)):
        total = 0
        for at, size in out[first:]:
            total += size
            assert total <= rate * (at - out[first][0]) + BURST + 1e-3


def drain(shaper, clock):
    """[(time, packet)] of everything that is held, each at the time that the stage asks for."""
    out = []
    while (at := shaper.deadline()) is not None:
        clock.now = max(clock.now, at)
        out += [(clock.now, one) for one in shaper.tick(clock.now)]
    return out


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(60, BURST), st.integers(0, 2)), min_size=1, max_size=60),
    st.sampled_from([64_000, 1_000_000, 100_000_000]),
)
def test_never_more_than_rate_and_burst_and_nothing_lost(arrivals, rate):
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": rate}, queue_bytes=60 * BURST)
    out = []
    for number, (gap, size, flow) in enumerate(arrivals):
        clock.now += gap
        out += [(clock.now, one) for one in shaper.process([sized(size, flow, (flow, number))])]
        out += [(clock.now, one) for one in shaper.tick(clock.now)]
    out += drain(shaper, clock)
    assert len(out) == len(arrivals)
    for flow in range(3):  # a flow keeps its order
        tickets = [one.ticket[1] for _, one in out if one.ticket[0] == flow]
        assert tickets == sorted(tickets)
    conforms([(at, len(one.frame)) for at, one in out], rate / 8)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, BURST)), max_size=50), st.floats(1e3, 1e9))
def test_bucket(steps, rate):
    bucket, now, taken = Bucket(rate, BURST, 0.0), 0.0, []
    for gap, size in steps:
        now += gap
        if bucket.take(size, now):
            taken.append((now, size))
        else:
            at = bucket.when(size)
            assert at > now
            assert bucket.take(size, at)
            taken.append((at, size))
            now = at
    conforms(taken, rate)


def test_a_rate_is_used_up():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000_000}, queue_bytes=1 << 24, queue_packets=2000)
    shaper.process([sized(1500) for _ in range(1000)])
    drain(shaper, clock)
    assert clock.now == pytest.approx((1000 * 1500 - BURST) / 1e6, rel=0.01)


def test_a_full_queue_takes_from_the_flow_that_holds_most():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000}, queue_packets=20)
    bulk = [sized(20_000, 0, n) for n in range(40)]
    went = shaper.process(bulk)
    ping = sized(64, 1, "ping")
    assert shaper.process([ping]) == []
    assert ping.reason is None
    dropped = [one for one in bulk if one.reason]
    assert {one.reason for one in dropped} == {"shaping-queue-full"}
    assert len(went) + len(dropped) == 21
    assert dropped[0] is bulk[22]  # the last that had found room: it made way for the ping
    out = [one for _, one in drain(shaper, clock)]
    assert out.index(ping) < 3
    assert len(out) == 20


def test_flows_share_a_rate():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000_000}, queue_bytes=1 << 24)
    shaper.process([sized(BURST)])  # empties the bucket
    shaper.process([sized(9000, 0, "a") for _ in range(100)] + [sized(1500, 1, "b") for _ in range(300)])
    out = [one for _, one in drain(shaper, clock)]
    share = {"a": 0, "b": 0}
    for one in out[: len(out) // 2]:
        share[one.ticket] += len(one.frame)
    assert share["a"] / share["b"] == pytest.approx(1, abs=0.15)


GOLDEN = [
    # configuration, peer, direction, whether a second full-size packet passes at once
    ("its region has a rate", {"rates_bps": {"europe": 1000}}, "172.16.0.2", "egress", False),
    ("another region has one", {"rates_bps": {"asia": 1000}}, "172.16.0.2", "egress", True),
    ("the default", {"default_bps": 1000}, "172.16.0.2", "egress", False),
    ("a host without region", {"rates_bps": {"asia": 1000}}, "172.16.0.9", "egress", True),
    ("a host without region, default", {"default_bps": 1000}, "172.16.0.9", "egress", False),
    ("ingress", {"default_bps": 1000}, "172.16.0.2", "ingress", True),
]


@pytest.mark.parametrize(("what", "config", "peer", "direction", "passes"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden(what, config, peer, direction, passes):
    shaper = stage(Clock(), **config)
    batch = [packet(FLOWS[0].ljust(BURST - 1, b"\0"), direction, peer=IPv4Address(peer)) for _ in range(2)]
    assert shaper.process(batch) == (batch if passes else batch[:1])


def test_regions_do_not_wait_for_each_other():
    shaper = stage(Clock(), rates_bps={"europe": 1000, "asia": 1000})
    assert len(shaper.process([sized(BURST - 1), sized(BURST - 1)])) == 1
    other = packet(FLOWS[0], peer=IPv4Address("172.16.0.3"))
    assert shaper.process([other]) == [other]


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({}, "config"),
        ({"rates_bps": {"europe": 0}}, "config.rates_bps.europe"),
        ({"default_bps": 1, "burst_bytes": 1500}, "config.burst_bytes"),
        ({"rate": 1}, "config.rate"),
    ],
)
def test_a_wrong_configuration_is_named(config, where):
    with pytest.raises(InputError) as caught:
        WanShaping(context(), config)
    assert caught.value.where.endswith(where)
