"""Random numbers that depend on a seed and on the number of a packet alone, so that a run can be repeated.

SplitMix64's finalizer (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) of the seed, the
number and the stream. Each decision about a packet has a stream of its own: more loss does not change what else
happens.
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.link.link_memory import CHANCE_BITS

OF_LOSS, OF_DUPLICATE, OF_REORDER, OF_JITTER, OF_COPY_JITTER = range(5)
STREAMS = 8
GOLDEN, FIRST_FACTOR, SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_GOLDEN, _FIRST_FACTOR, _SECOND_FACTOR = np.uint64(GOLDEN), np.uint64(FIRST_FACTOR), np.uint64(SECOND_FACTOR)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_SURPLUS = np.uint64(64 - CHANCE_BITS)


@compiled
def mixed(word: np.uint64) -> np.uint64:
    """SplitMix64's finalizer: each bit of the result depends on each bit of `word`."""
    word = (word ^ (word >> _30)) * _FIRST_FACTOR
    word = (word ^ (word >> _27)) * _SECOND_FACTOR
    return word ^ (word >> _31)


@compiled
def roll(seed: int, number: int, stream: int) -> int:
    """53 random bits for packet `number`, for one decision.

    Args:
        seed: of the link's direction.
        number: of the packet in its direction, from 0.
        stream: OF_LOSS, ...
    """
    counter = np.uint64(number * STREAMS + stream + 1)
    return np.int64(mixed(mixed(np.uint64(seed)) + counter * _GOLDEN) >> _SURPLUS)
