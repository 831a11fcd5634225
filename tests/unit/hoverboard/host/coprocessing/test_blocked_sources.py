"""Blocked sources: asked for by threads, kept by the control thread until their time is over, bounded."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from hoverboard.host.coprocessing import blocked_sources
from hoverboard.host.coprocessing.blocked_sources import BlockedSources

START = 1_000_003.0
BAD = IPv4Address("198.51.100.7")


@pytest.fixture
def here() -> Iterator[BlockedSources]:
    made = BlockedSources(lambda: START)
    yield made
    made.close()


def readable(here: BlockedSources) -> bool:
    return bool(select.select([here.control_eventfd], [], [], 0)[0])


def test_a_source_is_blocked_for_one_vm_until_its_time_is_over(here: BlockedSources) -> None:
    assert not readable(here)
    here.block(100, BAD.packed, 5.0)
    assert readable(here)
    assert (100, BAD) not in here
    assert here.update(START) == {(100, BAD)}
    assert not readable(here)
    assert (100, BAD) in here
    assert (101, BAD) not in here
    assert here.sources(100) == ["198.51.100.7"]
    assert here.sources(101) == []
    assert here.update(START + 4.9) == set()
    assert here.update(START + 5) == {(100, BAD)}
    assert (100, BAD) not in here
    assert here.sources(100) == []


def test_asked_again_it_stays_longer(here: BlockedSources) -> None:
    here.block(100, BAD.packed, 1.0)
    here.update(START)
    here.block(100, BAD.packed, 9.0)
    assert here.update(START) == {(100, BAD)}
    assert here.update(START + 5) == set()
    assert here.update(START + 9) == {(100, BAD)}


def test_what_was_asked_for_is_taken_up_at_once_however_much_it_is(here: BlockedSources) -> None:
    for last in range(5):
        here.block(100 + last, BAD.packed, 5.0 + last)
    assert here.update(START) == {(100 + last, BAD) for last in range(5)}
    assert here.update(START + 7) == {(100 + last, BAD) for last in range(3)}
    assert [here.sources(100 + last) for last in range(5)] == [[], [], [], [str(BAD)], [str(BAD)]]


def test_ipv6_and_a_vm_that_goes(here: BlockedSources) -> None:
    six = IPv6Address("2001:db8::1")
    here.block(100, six.packed, 5.0)
    here.block(101, six.packed, 5.0)
    assert here.update(START) == {(100, six), (101, six)}
    here.forget(100)
    here.forget(100)
    assert (100, six) not in here
    assert here.sources(100) == []
    assert here.sources(101) == ["2001:db8::1"]


def test_the_oldest_gives_way(here: BlockedSources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_sources, "MOST", 2)
    sources = [IPv4Address(number) for number in range(1, 4)]
    for source in (*sources[:2], sources[0], sources[2]):
        here.block(100, source.packed, 60.0)
    here.block(101, sources[0].packed, 60.0)
    assert here.update(START) == {(100, source) for source in sources} | {(101, sources[0])}
    # The first was asked for again, so the second is the oldest.
    assert [(100, source) in here for source in sources] == [True, False, True]
    assert (101, sources[0]) in here


def test_requests_that_wait_are_bounded(here: BlockedSources) -> None:
    for number in range(5_000):
        here.block(number, BAD.packed, 60.0)
    assert len(here.update(START)) == 4_096 == 4 * blocked_sources.MOST
    assert (4_999, BAD) in here


def test_a_thread_that_was_left_behind_writes_nowhere() -> None:
    made = BlockedSources(lambda: START)
    fd = made.control_eventfd
    made.close()
    reader, writer = os.pipe()
    other = os.eventfd(0, os.EFD_NONBLOCK)
    assert fd in (reader, writer, other), "something else has the number now"
    if fd != other:
        os.dup2(other, fd)
    made.block(100, BAD.packed, 1.0)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(fd)
    for each in {reader, writer, other, fd}:
        os.close(each)
