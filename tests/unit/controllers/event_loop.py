"""Event loops for one test: what hangs fails in seconds, and a clock stands still until the test puts it forward."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from controllers.testing.world import START

_T = TypeVar("_T")
_SECONDS = 5.0  # of real time


class StillClock(asyncio.SelectorEventLoop):
    """Its time is `now`, which only a test changes; a timer goes off at the next turn after it is due."""

    now = START

    def time(self) -> float:
        return self.now


def run(
    coroutine: Coroutine[Any, Any, _T], loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> _T:
    """The result of a coroutine; TimeoutError where it takes longer than a few seconds."""

    async def guarded() -> _T:
        task = asyncio.ensure_future(coroutine)
        end = threading.Timer(_SECONDS, asyncio.get_running_loop().call_soon_threadsafe, [task.cancel])
        end.start()
        try:
            return await task
        except asyncio.CancelledError:
            raise TimeoutError(f"not at its end within {_SECONDS} s") from None
        finally:
            end.cancel()

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(guarded())


async def turns(count: int = 20) -> None:
    """Let everything that is ready now go on, and what becomes ready by that."""
    for _ in range(count):
        await asyncio.sleep(0)


async def later(seconds: float) -> None:
    """Put the clock forward, and let everything go on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillClock)
    loop.now += seconds
    await turns()
