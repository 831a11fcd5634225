"""Shaping: conformance to rate and burst, nothing lost below the bound, order, fairness."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError
from hoverboard.contract.token_bucket import TokenBucket
from hoverboard.coprocessor.stages.wan_shaping import SLACK, RegionQueue, WanShaping
from tests.unit.hoverboard.coprocessor.fakes import BEGIN, IP, TCP, UDP, Clock, Raw, context, ethernet, packet

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
    bucket, now, taken = TokenBucket(rate, BURST, BEGIN), BEGIN, []
    for gap, size in steps:
        now += gap
        if bucket.take(now, size):
            taken.append((now, size))
        else:
            at = bucket.ready_at(size + SLACK)
            assert at > now
            assert bucket.take(at, size)
            taken.append((at, size))
            now = at
    conforms(taken, rate)


def test_a_rate_is_used_up():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000_000}, queue_bytes=1 << 24, queue_packets=2000)
    shaper.process([sized(1500) for _ in range(1000)])
    drain(shaper, clock)
    assert clock.now - BEGIN == pytest.approx((1000 * 1500 - BURST) / 1e6, rel=0.01)


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


@pytest.mark.parametrize(("size", "fit"), [(BURST, 2), (BURST // 2, 4), (BURST // 2 + 1, 3)])
def test_a_queue_is_full_by_its_bytes_long_before_its_packets(size, fit):
    shaper = stage(Clock(), rates_bps={"europe": 8_000}, queue_bytes=2 * BURST)
    shaper.process([sized(BURST - 1)])  # empties the bucket
    bulk = [sized(size, 0, n) for n in range(6)]
    assert shaper.process(bulk) == []
    assert [one.reason for one in bulk] == [None] * fit + ["shaping-queue-full"] * (6 - fit)
    assert shaper.statistics() == {"passed": 1, "delayed": 0, "shed": 6 - fit, "waiting": {"europe": fit}}


def test_what_went_at_once_what_waited_and_what_was_shed_is_counted():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000_000}, default_bps=8_000_000, queue_packets=3)
    assert shaper.statistics() == {"passed": 0, "delayed": 0, "shed": 0, "waiting": {}}
    shaper.process([sized(BURST // 2) for _ in range(7)] + [packet(FLOWS[0], peer=IPv4Address("172.16.0.9"))])
    assert shaper.statistics() == {"passed": 2 + 1, "delayed": 0, "shed": 2, "waiting": {"europe": 3}}
    assert len(drain(shaper, clock)) == 3
    assert shaper.statistics() == {"passed": 3, "delayed": 3, "shed": 2, "waiting": {}}
    assert shaper.deadline() is None


def test_nothing_is_released_before_its_time_and_all_at_it():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000_000})  # a megabyte a second
    shaper.process([sized(BURST - 1)])
    waits = [sized(10_000, 0, n) for n in range(3)]
    assert shaper.process(waits) == []
    at = shaper.deadline()
    assert at == pytest.approx(BEGIN + 0.01, abs=1e-5)
    assert shaper.tick(at - 0.001) == []
    assert shaper.tick(at) == waits[:1]
    assert shaper.deadline() == pytest.approx(BEGIN + 0.02, abs=1e-5)
    assert shaper.tick(BEGIN + 1) == waits[1:]


def test_the_earliest_region_is_the_deadline():
    shaper = stage(Clock(), rates_bps={"europe": 8_000, "asia": 8_000_000})
    shaper.process([sized(BURST - 1), sized(1_000)])
    late = shaper.deadline()
    asia = [packet(FLOWS[0].ljust(size, b"\0"), peer=IPv4Address("172.16.0.3")) for size in (BURST - 1, 1_000)]
    assert shaper.process(asia) == asia[:1]
    assert BEGIN < shaper.deadline() < BEGIN + 0.01 < late


def test_what_waits_is_not_overtaken_though_there_are_tokens():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000_000})
    shaper.process([sized(BURST - 1)])
    first, second = sized(20_000), sized(100)
    assert shaper.process([first]) == []
    clock.now += 0.01
    assert shaper.process([second]) == [], "100 bytes are there, but a packet waits"
    assert [one for _, one in drain(shaper, clock)] == [first, second]


def test_regions_without_a_rate_of_their_own_share_one():
    shaper = stage(Clock(), rates_bps={"europe": 8_000}, default_bps=8_000)
    asia = packet(FLOWS[0].ljust(BURST - 1, b"\0"), peer=IPv4Address("172.16.0.3"))
    nowhere = packet(FLOWS[0].ljust(BURST - 1, b"\0"), peer=IPv4Address("172.16.0.9"))
    assert shaper.process([asia, nowhere]) == [asia]
    assert shaper.statistics()["waiting"] == {"None": 1}
    assert len(shaper.process([sized(BURST - 1)])) == 1


def test_a_packet_without_another_host_goes_by_the_default():
    here = [packet(FLOWS[0].ljust(BURST - 1, b"\0"), peer=None) for _ in range(2)]
    assert stage(Clock(), rates_bps={"europe": 1_000}).process(here) == here
    assert stage(Clock(), default_bps=1_000).process(here) == here[:1]


def test_a_frame_that_is_not_ip_is_a_flow_too():
    clock = Clock()
    shaper = stage(clock, rates_bps={"europe": 8_000})
    shaper.process([sized(BURST - 1)])
    other = packet(b"\xff" * 12 + b"\x08\x06" + bytes(46))
    assert shaper.process([other]) == []
    assert [one for _, one in drain(shaper, clock)] == [other]


def test_a_packet_is_due_a_byte_later_than_its_tokens_are_there():
    queue = RegionQueue(TokenBucket(1.0, 10.0, 0.0))
    assert queue.bucket.take(0.0, 10)
    queue.push(1, packet(bytes(5)))
    assert queue.ready_at() == 6.0


def test_a_queue_serves_its_flows_a_quantum_each_and_sheds_the_longest():
    queue = RegionQueue(TokenBucket(1e12, 1e12, BEGIN))
    big = [packet(bytes(10_000), ticket=("big", n)) for n in range(4)]
    small = [packet(bytes(4_000), ticket=("small", n)) for n in range(8)]
    for one in big:
        queue.push(1, one)
    for one in small:
        queue.push(2, one)
    assert (queue.packets, queue.bytes) == (12, 72_000)
    assert queue.drop_last() is big[3]
    assert queue.drop_last() is small[7], "the last one of the flow that holds most now"
    assert (queue.packets, queue.bytes) == (10, 58_000)
    order = [one.ticket for one in queue.release(BEGIN)]
    # 16,384 bytes a turn: one of 10,000, four of 4,000, then 6,384 are left over for the next turn.
    assert order == [
        ("big", 0), *(("small", n) for n in range(4)), ("big", 1), ("big", 2), *(("small", n) for n in range(4, 7)),
    ]  # fmt: skip
    assert (queue.packets, queue.bytes, queue.ready_at(), queue.release(BEGIN)) == (0, 0, None, [])


def test_flows_have_their_turns_in_the_order_in_which_they_came():
    queue = RegionQueue(TokenBucket(1e12, 1e12, BEGIN))
    for number in range(2):
        for flow in (1, 2, 3):
            queue.push(flow, packet(bytes(16_384), ticket=(flow, number)))  # a whole turn each
    assert [one.ticket for one in queue.release(BEGIN)] == [(flow, number) for number in range(2) for flow in (1, 2, 3)]


def test_a_packet_of_a_whole_quantum_goes_in_its_turn():
    queue = RegionQueue(TokenBucket(1e12, 1e12, BEGIN))
    queue.push(1, packet(bytes(16_384), ticket="whole"))
    queue.push(2, packet(bytes(100), ticket="small"))
    assert [one.ticket for one in queue.release(BEGIN)] == ["whole", "small"]


def test_a_flow_is_what_its_addresses_protocol_and_ports_say():
    shaper = stage(Clock(), rates_bps={"europe": 8_000_000})
    shaper.process([sized(BURST - 1)])
    ends = IP(src="10.0.0.1", dst="10.0.0.2")
    one = [packet(ethernet(ends, TCP(sport=1, dport=2, flags=flags)).ljust(size, b"\0"))
           for flags, size in (("S", 20_000), ("A", 100), ("PA", 100))]  # fmt: skip
    assert shaper.process(one) == []
    assert shaper.tick(BEGIN + 1) == one, "none overtakes another of its flow"
    shaper.process([sized(BURST - 1)])
    many = [packet(ethernet(ends, UDP(sport=port, dport=9))) for port in range(1, 500)]
    shaper.process(many)
    assert len(shaper._regions["europe"]._flows) <= 64


def test_the_defaults_of_the_configuration():
    config = WanShaping.Config(default_bps=1)
    assert (config.burst_bytes, config.queue_bytes, config.queue_packets) == (131_072, 4_194_304, 1_024)


def test_a_flow_that_was_empty_begins_with_new_credit():
    queue = RegionQueue(TokenBucket(1e12, 1e12, BEGIN))
    for _ in range(3):
        queue.push(1, packet(bytes(16_000)))
        assert len(queue.release(BEGIN)) == 1
    queue.push(1, packet(bytes(60_000), ticket="large"))
    assert [one.ticket for one in queue.release(BEGIN)] == ["large"], "also more than a quantum"


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
        ({"default_bps": 0}, "config.default_bps"),
        ({"default_bps": 1, "burst_bytes": BURST - 1}, "config.burst_bytes"),
        ({"default_bps": 1, "queue_bytes": BURST - 1}, "config.queue_bytes"),
        ({"default_bps": 1, "queue_packets": 0}, "config.queue_packets"),
        ({"default_bps": 1, "queue_packets": 65_537}, "config.queue_packets"),
    ],
)
def test_a_wrong_configuration_is_named(config, where):
    with pytest.raises(InputError) as caught:
        WanShaping(context(), config)
    assert caught.value.where.endswith(where)
