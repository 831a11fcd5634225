"""How often an exception would have ended the process of the control plane that a test stands for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from controllers.crash import Crash


class ProcessEnd:
    """The handler of the running event loop; counts instead of ending the process.

    It keeps every task: asyncio itself reports the exception of a task that is forgotten, but not at a certain time.

    Attributes:
        times: how often the process would have ended.
        crash: the handler.
    """

    def __init__(self) -> None:
        self.times = 0
        self.crash = Crash(self._end)
        self._tasks: list[asyncio.Future[Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.crash)
        loop.set_task_factory(self._keep)  # type: ignore[arg-type]

    def _keep(self, loop: asyncio.AbstractEventLoop, doing: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(doing, loop=loop, **more)
        self._tasks.append(task)
        return task

    def _end(self) -> None:
        self.times += 1


async def fails(error: Exception) -> None:
    raise error
