"""The fate of packets beside a second implementation of the same rules, and what those rules promise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.link.dice import OF_COPY_JITTER, OF_DUPLICATE, OF_JITTER, OF_LOSS, OF_REORDER, roll
from hoverboard.fastpath.link.due_queue import head, is_empty, room, take
from hoverboard.fastpath.link.impair import arrive, follow
from hoverboard.fastpath.link.link_memory import (
    CHANCE_BITS,
    VNET_BYTES,
    WHEN,
    Direction,
    counters,
    new_direction,
    set_properties,
)

SEED = 7
LIMIT = 1 << CHANCE_BITS


@dataclass
class Model:
    """The rules in Python: what leaves at once, and when the rest is due."""

    properties: LinkProperties
    at_once: int = 0
    due: list[int] = field(default_factory=list)
    last: int = 0
    number: int = 0

    def chance(self, stream: int) -> float:
        return roll(SEED, self.number, stream) / LIMIT

    def arrive(self, length: int, now: int) -> None:
        wanted = self.properties
        count = 1 + (self.chance(OF_DUPLICATE) < wanted.duplicate) - (self.chance(OF_LOSS) < wanted.loss)
        if count and self.chance(OF_REORDER) < wanted.reorder:
            self.at_once += count
        else:
            for stream in (OF_JITTER, OF_COPY_JITTER)[:count]:
                delay = round(wanted.delay * 1e9)
                if wanted.jitter:
                    delay += int((2 * self.chance(stream) - 1) * round(wanted.jitter * 1e9))
                start = max(now + max(0, delay), self.last)
                if wanted.rate is not None:
                    if start - (now + max(0, delay)) > round(wanted.queue_seconds * 1e9):
                        break
                    start += length * 8 * 10**9 // wanted.rate
                self.last = start
                self.due.append(start)
        self.number += 1


def made(properties: LinkProperties) -> Direction:
    direction = new_direction(1 << 12, 1 << 22)
    set_properties(direction, properties, SEED)
    follow(direction)
    return direction


def due_times(direction: Direction) -> list[int]:
    """The due times of all packets that wait, which are taken out."""
    found = []
    while not is_empty(direction):
        found.append(int(direction.records[head(direction), WHEN]))
        take(direction)
    return found


def feed(direction: Direction, length: int, now: int) -> int:
    return int(arrive(direction, room(direction), length + VNET_BYTES, now))


SHARES = st.sampled_from([0.0, 0.01, 0.3, 1.0])
TIMES = st.sampled_from([0.0, 0.0001, 0.01])
PROPERTIES = st.builds(
    LinkProperties, delay=TIMES, jitter=TIMES, loss=SHARES, reorder=SHARES, duplicate=SHARES,
    rate=st.sampled_from([None, 100_000, 10_000_000, 10**9]),
)  # fmt: skip
PACKETS = st.lists(st.tuples(st.integers(14, 9000), st.integers(0, 2_000_000)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(PROPERTIES, PACKETS)
def test_packets_meet_the_fate_that_the_rules_say(properties: LinkProperties, packets: list[tuple[int, int]]) -> None:
    model, direction = Model(properties), made(properties)
    now, at_once = 10**9, 0
    for length, gap in packets:
        now += gap
        model.arrive(length, now)
        at_once += feed(direction, length, now)
    due = due_times(direction)
    assert (at_once, due) == (model.at_once, model.due)
    assert due == sorted(due)  # nothing overtakes another packet but what leaves at once
    found = counters(direction)
    assert found["packets"] == len(packets)
    assert found["bytes"] == sum(length for length, _ in packets)
    left = found["packets"] + found["duplicated"] - found["lost"] - found["queue_drops"]
    assert left == at_once + len(due)


@pytest.mark.parametrize("loss", [0.001, 0.01, 0.5])
def test_loss_is_within_the_99_percent_interval_over_100_000_packets(loss: float) -> None:
    count, direction = 100_000, made(LinkProperties(loss=loss))
    for _ in range(count):
        feed(direction, 100, 0)
        if not is_empty(direction):
            take(direction)
    assert abs(counters(direction)["lost"] - count * loss) < 2.5758 * math.sqrt(count * loss * (1 - loss))


def fates(direction: Direction, count: int) -> list[bool]:
    """Whether each of so many packets leaves."""
    found = []
    for _ in range(count):
        feed(direction, 100, 0)
        found.append(not is_empty(direction))
        if found[-1]:
            take(direction)
    return found


def test_one_seed_loses_the_same_packets_whatever_else_the_link_does() -> None:
    wanted = LinkProperties(loss=0.1)
    first = fates(made(wanted), 2000)
    assert fates(made(replace(wanted, delay=0.01, jitter=0.005, rate=10**9)), 2000) == first
    other = made(wanted)
    set_properties(other, wanted, SEED + 1)
    follow(other)
    assert fates(other, 2000) != first


def test_the_numbers_begin_again_when_the_properties_are_set() -> None:
    direction = made(LinkProperties(loss=0.1))
    first = fates(direction, 500)
    assert fates(direction, 500) != first
    set_properties(direction, LinkProperties(loss=0.1), SEED)
    follow(direction)
    assert fates(direction, 500) == first


def test_a_shorter_delay_does_not_reorder() -> None:
    direction = made(LinkProperties(delay=1.0))
    feed(direction, 100, 0)
    set_properties(direction, LinkProperties(delay=0.001), SEED)
    follow(direction)
    feed(direction, 100, 0)
    assert due_times(direction) == [10**9, 10**9]


def test_a_packet_that_waits_too_long_for_the_rate_is_dropped() -> None:
    direction = made(LinkProperties(rate=10_000_000))  # 262,144 bytes of queue: 0.21 s
    for _ in range(300):
        feed(direction, 1250, 0)  # 1 ms each
    due = due_times(direction)
    assert due == [1_000_000 * number for number in range(1, len(due) + 1)]
    assert len(due) == 210
    assert counters(direction)["queue_drops"] == 90


def test_the_whole_range_of_times_and_rates_fits() -> None:
    direction = made(LinkProperties(delay=10, jitter=10, rate=100_000))
    feed(direction, 65_535, 10**18)
    (due,) = due_times(direction)
    assert 10**18 + 5 * 10**9 < due < 10**18 + 26 * 10**9
