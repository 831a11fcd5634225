"""Both ends of a long stream between two roles: what is to be said waits in a queue, and one task says it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

_BEHIND = 50_000  # messages that a peer may be behind; one that reads nothing is cut off and begins anew


class Outbox:
    """Messages for one peer, in order.

    Attributes:
        overrun: set when the peer is too far behind; the stream is to be ended then.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.overrun = asyncio.Event()

    def put(self, message: Any) -> None:
        """Say this."""
        if self._queue.qsize() >= _BEHIND:
            self.overrun.set()
            return
        self._queue.put_nowait(message)

    async def write_to(self, stream: Any) -> None:
        """Say everything there is and will be; ends when the peer is too far behind."""
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
        """The number of a new question, and where its answer will be."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        answer.add_done_callback(lambda _: self._waiting.pop(number, None))
        return number, answer

    def answer(self, number: int, answer: Any) -> None:
        """The answer has come; one that nobody waits for is dropped."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def fail(self, error: Exception) -> None:
        """The peer is gone."""
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(error)
