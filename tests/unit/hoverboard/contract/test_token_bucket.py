"""A token bucket by examples, and by what it may never do: let more pass than the burst and the rate."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.token_bucket import ASK_BURST, ASK_RATE, TokenBucket

START = 1_000_003.0


def taken(bucket: TokenBucket, tries: int, now: float) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_a_burst_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(50, 25, START)
    assert taken(bucket, 30, START) == 25
    assert taken(bucket, 30, START + 0.125) == 6  # and a quarter of a token, which stays
    assert taken(bucket, 30, START + 0.140) == 1
    assert taken(bucket, 300, START + 60) == 25


def test_what_is_refused_costs_nothing() -> None:
    bucket = TokenBucket(2, 1, START)
    assert bucket.take(START)
    assert not bucket.take(START + 0.25)
    assert bucket.take(START + 0.5)


def test_it_is_full_again_when_the_burst_has_come_back() -> None:
    bucket = TokenBucket(2, 3, START)
    assert bucket.full(START)
    bucket.take(START)
    bucket.take(START)
    assert not bucket.full(START + 0.75)
    assert bucket.full(START + 1)


def test_a_bucket_of_bytes_holds_no_more_than_its_burst_and_no_time_runs_back() -> None:
    bucket = TokenBucket(1_000.0, 5_000.0, START)
    assert not bucket.take(START, 5_001)
    assert bucket.take(START, 5_000)
    assert not bucket.take(START - 100, 2)
    assert bucket.ready_at(1_000) == START + 1
    assert bucket.take(START + 1, 1_000)
    assert not bucket.take(START + 3_600, 5_001)
    assert bucket.take(START + 3_600, 5_000)
    assert TokenBucket(1_000.0, 5_000.0, START).ready_at(10) == START, "what is there is there now"


def test_a_vport_may_ask_so_often() -> None:
    assert (ASK_RATE, ASK_BURST) == (50, 25)


waits = st.lists(st.integers(0, 64).map(lambda ticks: ticks / 64), max_size=60)


@given(st.integers(1, 64), st.integers(1, 30), waits)
def test_no_span_of_time_passes_more_than_burst_and_rate(rate: int, burst: int, gaps: list[float]) -> None:
    bucket, now, passed = TokenBucket(rate, burst, START), START, []
    for gap in gaps:
        now += gap
        passed += [now] * taken(bucket, 3, now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * rate


@given(st.integers(1, 64), st.integers(1, 30), waits)
def test_who_asks_no_faster_than_the_rate_is_never_refused(rate: int, burst: int, gaps: list[float]) -> None:
    bucket, now = TokenBucket(rate, burst, START), START
    for gap in gaps:
        now += math.ceil(max(gap, 1 / rate) * 1024) / 1024
        assert bucket.take(now)
