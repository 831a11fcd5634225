"""Turns errors into a message with a next step and an exit code, instead of a traceback.

With HOVERBOARD_DEBUG=1 tracebacks are shown, for people who work on the testbed itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from hoverboard.contract.errors import HoverboardError

_INTERRUPTED = 130  # as shells report SIGINT
_INTERNAL = 70  # EX_SOFTWARE


def debugging() -> bool:
    """Whether tracebacks are shown."""
    return os.environ.get("HOVERBOARD_DEBUG", "") not in ("", "0")


def print_error(error: HoverboardError) -> None:
    """Print a fault and its next step on stderr."""
    print(f"hoverboard: {error}", file=sys.stderr)


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """End the command with the message and the exit code of an error that the block raises."""
    try:
        yield
    except HoverboardError as error:
        if debugging():
            raise
        print_error(error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("hoverboard: interrupted", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of our output has gone (`| head`). That is no fault, but nothing can be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, AssertionError) as error:
        if debugging():
            raise
        print(
            f"hoverboard: internal error: {type(error).__name__}: {error}\n"
            "  -> this is a fault of the testbed; repeat the command with HOVERBOARD_DEBUG=1 and report the traceback",
            file=sys.stderr,
        )
        raise typer.Exit(_INTERNAL) from None


class GuardedGroup(TyperGroup):
    """A group of commands whose errors are reported without a traceback."""

    @override
    def invoke(self, ctx: Any) -> Any:
        with report_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """End the block at SIGTERM and SIGHUP as at Ctrl-C, so that all it has started is taken down."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    kept = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
