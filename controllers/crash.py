"""An unexpected exception in a process of the control plane ends that process; its supervisor starts it again.

Going on would be worse: a view that is half changed programs switches, and a task that has ended in silence is never
missed. A new process is told the whole intent, reads every switch, and sends what differs.

Whoever notices one tells the event loop (`whole`, `watched`); the loop's handler, `Crash`, ends the process. Errors
that a person is meant to read (HoverboardError) are answers: they end no process, unless a task ends by one.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hoverboard.contract.errors import HoverboardError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_PACKAGE = __name__.partition(".")[0]
_OURS = "controllers.crash"  # key of a context for the loop's handler: whoever told it knows that it is ours


class Crash:
    """The event loop's exception handler.

    Args:
        end: ends the process; called once.

    Attributes:
        error: why; None so far.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._end = end

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio calls; exceptions that have nothing to do with our code only get their line in the log."""
        error = context.get("exception")
        if not isinstance(error, Exception) or not (_OURS in context or _raised_in_this_package(error)):
            loop.default_exception_handler(context)
        elif self.error is None:
            self.error = error
            _log.critical("an unexpected exception: this process ends", exc_info=error)
            self._end()


def _raised_in_this_package(error: BaseException) -> bool:
    return not isinstance(error, HoverboardError) and any(
        str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _report(loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
    loop.call_exception_handler({"message": "unexpected exception", "exception": error, _OURS: True})


@contextmanager
def crash_on_error() -> Iterator[None]:
    """What is done inside is done whole; an unexpected exception, which goes on from here, ends the process."""
    try:
        yield
    except HoverboardError:
        raise
    except Exception as error:
        _report(asyncio.get_running_loop(), error)
        raise


def critical_task(doing: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """A task that may end, or be cancelled, but not by an unexpected exception."""
    task = asyncio.get_running_loop().create_task(doing)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _report(task.get_loop(), error)
