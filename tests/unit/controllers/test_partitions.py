"""Consistent hashing: balanced, the same for everybody, and another number of owners moves only what it must."""

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


def test_no_owner_is_refused() -> None:
    with pytest.raises(InputError):
        Owners(0)
