"""Delays signals, so that they do not interrupt the take-down of a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP until the block is done; then raise them.

    A signal mask would not help: the kernel would send the signal to another thread, and Python would interrupt the
    main thread for it. Signals interrupt only the main thread, so the block does nothing in others.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in dict.fromkeys(came):
            signal.raise_signal(late)
