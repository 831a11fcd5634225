"""An unexpected exception in a process of the control plane ends that process; its supervisor restarts it.

To continue would be worse: a half-changed view would program switches, and a task that ended would stay unnoticed.
The new process receives the whole intent, reads every switch, and sends the differences.

`crash_on_error` and `critical_task` report the exception to the event loop; the loop's handler, `Crash`, ends the
process. A HoverboardError is an answer for a person: it ends no process, unless it ends a critical task.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.contract.plugins import error_text, place_in_user_code

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_PACKAGE = __name__.partition(".")[0]
_OURS = "controllers.crash"  # key in the loop handler's context: this module reported the exception


class Crash:
    """The event loop's exception handler.

    Args:
        end: ends the process; called once.

    Attributes:
        error: the exception that ends the process; None so far.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._end = end

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an exception that asyncio reports; one that is not from this package is only logged."""
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
    """End the process if the body raises an unexpected exception; the exception continues as well."""
    try:
        yield
    except HoverboardError:
        raise
    except Exception as error:
        _report(asyncio.get_running_loop(), error)
        raise


def answer_to(error: Exception) -> HoverboardError:
    """The error that answers a request which `error` has ended: `error` itself, if it is one for people.

    An exception in a user's programming model or offload policy is the file's fault: InputError, with class and line.
    """
    if isinstance(error, HoverboardError):
        return error
    place = place_in_user_code(error)
    if place is None:
        return RunError(
            f"the request failed in the control plane: {error_text(error)}",
            next_step="read the traceback in the control plane's log",
        )
    name, where = place
    return InputError(
        f"{name}() raised {error_text(error)}", where=where, next_step="correct the file, then repeat the command"
    )


def error_place(error: BaseException) -> str:
    """An exception in one line: its place, in a user's file if it passed one, its class and its message."""
    if isinstance(error, HoverboardError):
        return str(error).partition("\n")[0]
    place = place_in_user_code(error)
    if place is not None:
        return f"{place[1]}: {place[0]}() raised {error_text(error)}"
    last = list(traceback.extract_tb(error.__traceback__))[-1:]
    return "".join(f"{frame.filename}:{frame.lineno}: " for frame in last) + error_text(error)


def record_crash(directory: Path, name: str, reason: str) -> None:
    """Write why this process ends into its directory, for the run that restarts it (`crash_reason`)."""
    with contextlib.suppress(OSError):  # the directory may be gone
        text = json.dumps({"pid": os.getpid(), "reason": reason})
        (directory / f"{name}.crash").write_text(text, encoding="utf-8")


def crash_reason(directory: Path, name: str, pid: int) -> str | None:
    """The reason that process `pid` has written before its end; None: it has written none."""
    try:
        found = json.loads((directory / f"{name}.crash").read_text(encoding="utf-8"))
        return str(found["reason"]) if found["pid"] == pid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def critical_task(doing: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Start a task that ends the process if it ends by an exception; it may return or be cancelled."""
    task = asyncio.get_running_loop().create_task(doing)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _report(task.get_loop(), error)
