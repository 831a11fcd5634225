"""Turns errors into what a person reads: one fault, one next step, an exit code; never a traceback.

HOVERBOARD_DEBUG=1 lets tracebacks through, for people who work on the testbed itself.
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
    """Whether tracebacks are wanted."""
    return os.environ.get("HOVERBOARD_DEBUG", "") not in ("", "0")


def complain(error: HoverboardError) -> None:
    """The fault and its next step, on stderr."""
    print(f"hoverboard: {error}", file=sys.stderr)


@contextlib.contextmanager
def faults_told() -> Iterator[None]:
    """Errors inside end the command with their message and exit code."""
    try:
        yield
    except HoverboardError as error:
        if debugging():
            raise
        complain(error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("hoverboard: interrupted", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): not a fault, but nothing may be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, AssertionError) as error:
        if debugging():
            raise
        print(
            f"hoverboard: internal error: {type(error).__name__}: {error}\n"
            "  -> this is a fault of the testbed; run it again with HOVERBOARD_DEBUG=1 and report the traceback",
            file=sys.stderr,
        )
        raise typer.Exit(_INTERNAL) from None


class GuardedGroup(TyperGroup):
    """A group of commands in which no error ends as a traceback."""

    @override
    def invoke(self, ctx: Any) -> Any:
        with faults_told():
            return super().invoke(ctx)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it started is taken down."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    kept = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
