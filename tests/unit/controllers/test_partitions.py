"""Consistent hashing: balanced, equal in all processes, and another number of owners moves few keys."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.partitions import Owners
from hoverboard.contract.errors import InputError

DPIDS = st.lists(st.integers(0, 2**64 - 1), max_size=200)


@given(DPIDS, st.integers(1, 12))
def test_one_owner_more_moves_hosts_to_the_new_one_only(dpids: list[int], count: int) -> None:
    before, after = Owners(count), Owners(count + 1)
    for dpid in dpids:
        assert after.of(dpid) in (before.of(dpid), count)


@given(DPIDS, st.integers(1, 8), st.integers(1, 8))
def test_any_other_number_moves_only_what_the_gone_or_new_ones_have(dpids: list[int], one: int, two: int) -> None:
    fewer, more = Owners(min(one, two)), Owners(max(one, two))
    for dpid in dpids:
        assert more.of(dpid) == fewer.of(dpid) or more.of(dpid) >= fewer.count


@pytest.mark.parametrize("count", [2, 3, 7])
def test_owners_share_alike(count: int) -> None:
    # Datapath ids of one underlay differ in a few low bits only.
    shares = Counter(Owners(count).of(0xAC10_0000 + number) for number in range(6000))
    assert set(shares) == set(range(count))
    assert max(shares.values()) < 1.15 * 6000 / count
    assert min(shares.values()) > 0.85 * 6000 / count


def test_an_owner_is_the_same_in_every_release() -> None:
    """Control planes of two releases run side by side for a while, and have to agree."""
    assert [
        [Owners(count).of(dpid) for dpid in (0, 1, 0xAC100001, 0xAC10FF02, 2**64 - 1)] for count in range(1, 5)
    ] == [
        [0, 0, 0, 0, 0],
        [1, 0, 1, 0, 1],
        [1, 0, 1, 2, 1],
        [1, 3, 1, 3, 1],
    ]


def test_no_owner_is_refused() -> None:
    assert Owners(1).count == 1
    with pytest.raises(InputError, match="0 owners own nothing"):
        Owners(0)
