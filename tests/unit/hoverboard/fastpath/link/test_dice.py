"""The random numbers of links: those of SplitMix64, even, and different for each decision."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hoverboard.fastpath.link import dice
from hoverboard.fastpath.link.dice import OF_DUPLICATE, OF_LOSS, STREAMS, roll
from hoverboard.fastpath.link.link_memory import CHANCE_BITS

MASK = (1 << 64) - 1


def mixed(word: int) -> int:
    """SplitMix64's finalizer, in Python's integers."""
    word = (word ^ (word >> 30)) * dice.FIRST_FACTOR & MASK
    word = (word ^ (word >> 27)) * dice.SECOND_FACTOR & MASK
    return word ^ (word >> 31)


def wanted(seed: int, number: int, stream: int) -> int:
    """What `roll` should give."""
    counter = number * STREAMS + stream + 1
    return mixed(mixed(seed) + counter * dice.GOLDEN & MASK) >> (64 - CHANCE_BITS)


@given(st.integers(0, 2**33), st.integers(0, 2**40), st.integers(0, STREAMS - 1))
def test_it_is_splitmix64(seed: int, number: int, stream: int) -> None:
    assert roll(seed, number, stream) == wanted(seed, number, stream)


def test_the_finalizer_is_the_published_one() -> None:
    # The first numbers of SplitMix64 with seed 0 (Vigna's splitmix64.c).
    assert [mixed(count * dice.GOLDEN & MASK) for count in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_the_numbers_are_even_and_streams_do_not_agree() -> None:
    count = 20_000
    below = [roll(5, number, OF_LOSS) < 1 << (CHANCE_BITS - 2) for number in range(count)]
    other = [roll(5, number, OF_DUPLICATE) < 1 << (CHANCE_BITS - 2) for number in range(count)]
    both = sum(one and two for one, two in zip(below, other, strict=True))
    assert abs(sum(below) - count / 4) < 4 * math.sqrt(count * 3 / 16)
    assert abs(both - count / 16) < 4 * math.sqrt(count * 15 / 256)
