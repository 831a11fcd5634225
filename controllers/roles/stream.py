"""Both ends of a long stream between two roles: messages wait in a queue, and one task writes them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

_BEHIND = 50_000  # messages that may wait for a peer; beyond that its stream is closed, and it reconnects


class Outbox:
    """Messages for one peer, in order.

    Attributes:
        overrun: set when the peer is too far behind; the stream must end then.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.overrun = asyncio.Event()

    def put(self, message: Any) -> None:
        """Add a message."""
        if self._queue.qsize() >= _BEHIND:
            self.overrun.set()
            return
        self._queue.put_nowait(message)

    async def write_to(self, stream: Any) -> None:
        """Write all present and future messages; return when the peer is too far behind."""
        behind = asyncio.ensure_future(self.overrun.wait())
        try:
            while not self.overrun.is_set():
                message = await self._queue.get()
                writing = asyncio.ensure_future(stream.write(message))
                await asyncio.wait({writing, behind}, return_when=asyncio.FIRST_COMPLETED)
                if not writing.done():
                    writing.cancel()
                    return
                await writing
        finally:
            behind.cancel()


class Questions:
    """Questions that a peer has not answered yet."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def ask(self) -> tuple[int, asyncio.Future[Any]]:
        """Make a question; return its number, and the future for its answer."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        answer.add_done_callback(lambda _: self._waiting.pop(number, None))
        return number, answer

    def answer(self, number: int, answer: Any) -> None:
        """Record an answer; an unknown number is ignored."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Fail all questions: the peer disconnected."""
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(error)
