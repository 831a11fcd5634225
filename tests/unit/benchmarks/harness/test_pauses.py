"""A pause lasts as long as it says."""

from __future__ import annotations

import time

from benchmarks.harness.pauses import pause


def test_a_pause_is_not_shorter_than_it_says() -> None:
    begun = time.monotonic()
    pause(0.01)
    assert time.monotonic() - begun >= 0.01
