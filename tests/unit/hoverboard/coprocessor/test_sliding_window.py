"""Counts of a sliding window: exact with room for all keys, and never too high."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.coprocessor.sliding_window import SlidingCounts


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 100)), max_size=200), st.integers(6, 10))
def test_counts_with_room_for_all_keys_are_exact(events, capacity):
    counts = SlidingCounts(10.0, capacity)
    for key, size in events:
        counts.add(key, 1, size, 0.0)
    sizes = [[size for one, size in events if one == key] for key in range(6)]
    # The whole window, half of the one before, nothing.
    for now, share in ((0.0, 1.0), (15.0, 0.5), (30.0, 0.0)):
        for key, mine in enumerate(sizes):
            expected = (share * len(mine) / 10, share * sum(mine) / 10)
            assert counts.rates(key, now) == pytest.approx(expected if events else (0, 0))


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 8))
def test_counts_never_blame_and_are_bounded(keys, capacity):
    counts = SlidingCounts(1.0, capacity)
    for key in keys:
        counts.add(key, 1, 1, 0.0)
        assert len(counts) <= capacity
    for key in set(keys):
        assert counts.rates(key, 0.0)[0] <= keys.count(key)
