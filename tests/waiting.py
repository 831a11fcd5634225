"""How tests wait: for a condition that other threads, processes or tasks bring about, with a deadline."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable

_PAUSE, _LONGEST_PAUSE = 0.001, 0.02  # seconds between two looks: a look may ask a process, or many


def until(condition: Callable[[], object], seconds: float = 10.0, what: str = "it never holds") -> None:
    """Return once a condition holds.

    Raises:
        AssertionError: it did not within so many seconds; says `what`.
    """
    deadline = time.monotonic() + seconds
    pause = _PAUSE
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s: {what}"
        select.select([], [], [], pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def until_async(condition: Callable[[], object], seconds: float = 10.0, what: str = "it never holds") -> float:
    """The same in an event loop, by the clock of that loop; the seconds that it took.

    Raises:
        AssertionError: as until().
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not condition():
        assert loop.time() < begun + seconds, f"after {seconds:g} s: {what}"
        await asyncio.sleep(_PAUSE)
    return loop.time() - begun
