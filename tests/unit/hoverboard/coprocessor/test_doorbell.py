"""The doorbell rings only for a sleeper, and no ring is ever missed."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from hoverboard.coprocessor import doorbell
from hoverboard.coprocessor.doorbell import Doorbell


@pytest.fixture
def bell():
    made = Doorbell()
    yield made
    made.close()


def test_a_producer_does_not_ring_for_a_thread_that_is_awake(bell):
    bell.ring()
    bell.arm()
    bell.wait(0.0)
    bell.disarm()
    bell.ring()
    assert not bell._poll.poll(0)


@pytest.mark.parametrize("timeout", [None, 10.0, doorbell._SHORT / 2])
def test_a_ring_before_the_wait_ends_it(bell, timeout):
    bell.arm()
    bell.ring()
    bell.wait(timeout)
    bell.disarm()
    assert not bell._poll.poll(0)


def test_a_time_that_has_passed(bell):
    bell.arm()
    bell.wait(-1.0)
    bell.wait(0.0)
    assert not bell._poll.poll(0)


def test_no_ring_is_missed_by_two_threads(bell):
    """Each item is awaited before the next is sent, so that the sleeper falls asleep each time."""
    items, answers, rounds = deque(), threading.Semaphore(0), 2000

    def sleeper():
        got = 0
        while got < rounds:
            bell.arm()
            if not items:
                bell.wait(None)
            bell.disarm()
            while items:
                items.popleft()
                got += 1
                answers.release()

    thread = threading.Thread(target=sleeper)
    thread.start()
    for n in range(rounds):
        items.append(n)
        bell.ring()
        assert answers.acquire(timeout=10), f"asleep over item {n}"
    thread.join(10)
    assert not thread.is_alive()
