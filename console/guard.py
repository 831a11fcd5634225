"""Turns errors into a message with a next step and an exit code, instead of a traceback.

With HOVERBOARD_DEBUG=1 tracebacks are shown, for people who work on the testbed itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import typer
from typer.core import TyperGroup
from typing_extensions import override

from hoverboard.contract.errors import HoverboardError, MachineError

_INTERRUPTED = 130  # as shells report SIGINT
_INTERNAL = 70  # EX_SOFTWARE
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


_caller_umask: int | None = None


def make_files_private() -> None:
    """Keep the files of this process, and of all that it starts, from other users."""
    global _caller_umask
    _caller_umask = os.umask(0o077)


def restore_umask() -> None:
    """Give a program that this process becomes the umask of the caller."""
    if _caller_umask is not None:
        os.umask(_caller_umask)


def debugging() -> bool:
    """Whether tracebacks are shown."""
    return os.environ.get("HOVERBOARD_DEBUG", "") not in ("", "0")


def print_error(error: HoverboardError) -> None:
    """Print a fault and its next step on stderr."""
    _print_on_stderr(f"hoverboard: {error}")


def _print_on_stderr(text: str) -> None:
    """Print on stderr; do nothing when it is closed or cannot be written, so that the exit code stays the error's."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard_output(sys.stderr)


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """End the command with the message and the exit code of an error that the block raises.

    Output that the block has printed is flushed, so that a fault of that shows here too.
    """
    try:
        with _flushed_output():
            yield
    except HoverboardError as error:
        if debugging():
            raise
        print_error(error)
        raise typer.Exit(error.exit_code) from None
    except SystemExit as ended:
        # Rich ends the process itself, with code 1, when the reader of a table has gone.
        if isinstance(ended.__context__, BrokenPipeError):
            _discard_output()
            raise typer.Exit(0) from None
        raise
    except KeyboardInterrupt:
        _print_on_stderr("hoverboard: interrupted")
        raise typer.Exit(_INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of our output has gone (`| head`). That is no fault, but nothing can be flushed any more.
        _discard_output()
        raise typer.Exit(0) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, AssertionError) as error:
        if debugging():
            raise
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            full = _no_space(error)
            print_error(full)
            _discard_unwritten_output()
            raise typer.Exit(full.exit_code) from None
        _print_on_stderr(
            f"hoverboard: internal error: {type(error).__name__}: {error}\n"
            "  -> this is a fault of the testbed; repeat the command with HOVERBOARD_DEBUG=1 and report the traceback"
        )
        raise typer.Exit(_INTERNAL) from None


@contextlib.contextmanager
def _flushed_output() -> Iterator[None]:
    """Flush stdout after the block, unless it raises an error."""
    try:
        yield
    except typer.Exit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    if sys.stdout is not None:  # `>&-` closes it
        sys.stdout.flush()


def _discard_output(stream: TextIO | None = None) -> None:
    """Send what is not written yet, and all later output, to /dev/null: Python flushes once more at its end.

    Args:
        stream: default: stdout.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, (stream or sys.stdout).fileno())
    os.close(null)


def _discard_unwritten_output() -> None:
    """Discard all output when what is there already cannot be flushed."""
    try:
        _flush()
    except OSError:
        _discard_output()


def _no_space(error: OSError) -> MachineError:
    """The error for a full disk. The system names the file only when it opens or makes one."""
    where = "" if error.filename is None else str(error.filename)
    what = f"{'it' if where else 'the output or a file'} cannot be written: {(error.strerror or 'no space').lower()}"
    step = "make room on that disk" if where else "make room on the disk, or send the output to another place"
    return MachineError(what, where=where, next_step=step)


class GuardedGroup(TyperGroup):
    """A group of commands whose errors are reported without a traceback."""

    @override
    def make_context(self, *args: Any, **options: Any) -> Any:
        with report_errors():  # `--version` and `--help` print here
            return super().make_context(*args, **options)

    @override
    def invoke(self, ctx: Any) -> Any:
        with report_errors():
            return super().invoke(ctx)


class EndingSignals:
    """The signals that end the block of `ended_by_signals`."""

    def __init__(self) -> None:
        self.ignored = False

    def ignore(self) -> None:
        """Ignore them, and Ctrl-C, until this process ends: what it started now stays."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.ignored = True


@contextlib.contextmanager
def ended_by_signals() -> Iterator[EndingSignals]:
    """End the block at SIGTERM and SIGHUP as at Ctrl-C, so that all it has started is taken down.

    A signal that our caller ignores, as `nohup` does SIGHUP, stays ignored.
    """

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    kept = {number: handler for number, handler in found.items() if handler != signal.SIG_IGN}
    for number in kept:
        signal.signal(number, interrupt)
    signals = EndingSignals()
    try:
        yield signals
    finally:
        if not signals.ignored:
            for number, handler in kept.items():
                signal.signal(number, handler)
