"""The properties of a link: whether it has any, and how long packets wait for its rate."""

from __future__ import annotations

import pytest

from hoverboard.contract.links.link_properties import LinkProperties


def test_a_link_without_properties_needs_nothing() -> None:
    assert not LinkProperties()
    assert not LinkProperties(seed=9)


@pytest.mark.parametrize("word", ["delay", "jitter", "loss", "reorder", "duplicate"])
def test_each_word_impairs(word: str) -> None:
    assert LinkProperties(**{word: 0.1}).impairs
    assert LinkProperties(**{word: 0.1})


def test_a_rate_alone_does_not_impair() -> None:
    assert LinkProperties(rate=1000)
    assert not LinkProperties(rate=1000).impairs


def test_the_queue_is_100_ms_and_at_least_four_of_the_largest_frames() -> None:
    assert LinkProperties().queue_seconds == 0
    assert LinkProperties(rate=10**9).queue_seconds == 0.1
    assert LinkProperties(rate=10**6).queue_seconds == pytest.approx(4 * 65536 * 8 / 10**6)
