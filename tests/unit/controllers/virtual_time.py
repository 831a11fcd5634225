"""An event loop whose clock is the test's own: where there is nothing to do, time jumps to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

START = 1_000_003.0
_HANGS = 5.0  # real seconds without any event and without any timer: nothing will ever happen


class _Selector(selectors.DefaultSelector):
    """Looks at descriptors without waiting; a wait with an end passes in the loop's time instead."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(_HANGS if timeout is None else 0)
        if not found and timeout is None:
            raise RuntimeError("the event loop waits for nothing")
        if not found and timeout is not None:
            self.loop.now += timeout
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See above; descriptors of the test itself (socket pairs) work as usual.

    Attributes:
        now: what `time()` says.
    """

    def __init__(self) -> None:
        self.now = START
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(test: Callable[[], Coroutine[Any, Any, None]], seconds: float = 600.0) -> None:
    """Run a test's coroutine, for at most so many seconds of its own time."""

    async def limited() -> None:
        async with asyncio.timeout(seconds):
            await test()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(limited())
