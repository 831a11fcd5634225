"""Blocked sources: asked for by threads, kept by the control thread until their time is over, bounded."""

from __future__ import annotations

import select
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from hoverboard.host import blocks
from hoverboard.host.blocks import Blocks

BAD = IPv4Address("198.51.100.7")


@pytest.fixture
def here():
    made = Blocks()
    yield made
    made.close()


def readable(here):
    return bool(select.select([here.news_fd], [], [], 0)[0])


def test_a_source_is_blocked_for_one_vm_until_its_time_is_over(here):
    now = time.monotonic()
    here.ask(100, BAD.packed, 5.0)
    assert readable(here)
    assert (100, BAD) not in here
    assert here.turn(now) == {(100, BAD)}
    assert not readable(here)
    assert (100, BAD) in here
    assert (101, BAD) not in here
    assert here.of(100) == ["198.51.100.7"]
    assert here.turn(now + 4) == set()
    assert here.turn(now + 6) == {(100, BAD)}
    assert (100, BAD) not in here


def test_asked_again_it_stays_longer(here):
    now = time.monotonic()
    here.ask(100, BAD.packed, 1.0)
    here.turn(now)
    here.ask(100, BAD.packed, 9.0)
    assert here.turn(now) == {(100, BAD)}
    assert here.turn(now + 5) == set()


def test_ipv6_and_a_vm_that_goes(here):
    six = IPv6Address("2001:db8::1")
    here.ask(100, six.packed, 5.0)
    assert here.turn(time.monotonic()) == {(100, six)}
    here.forget(100)
    assert (100, six) not in here
    assert here.of(100) == []


def test_the_oldest_gives_way(here, monkeypatch):
    monkeypatch.setattr(blocks, "MOST", 2)
    sources = [IPv4Address(number) for number in range(1, 4)]
    for source in sources:
        here.ask(100, source.packed, 60.0)
    assert here.turn(time.monotonic()) == {(100, source) for source in sources}
    assert [(100, source) in here for source in sources] == [False, True, True]


def test_a_thread_that_was_left_behind_writes_nowhere():
    made = Blocks()
    made.close()
    made.ask(100, BAD.packed, 1.0)
