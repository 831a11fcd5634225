"""An event loop for one test, with an end: what hangs fails at once, and does not hold the ring up for a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_SECONDS = 5.0


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine; TimeoutError where it takes longer than a few seconds."""
    return asyncio.run(asyncio.wait_for(coroutine, _SECONDS))


async def turns(count: int = 20) -> None:
    """Let everything that is ready now go on, and what becomes ready by that."""
    for _ in range(count):
        await asyncio.sleep(0)
