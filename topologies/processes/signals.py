"""Signals that have to wait: taking a run down is not to be interrupted half way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP wait until what is inside is done: half a clean-up helps nobody.

    Not by a signal mask: the kernel gives the signal to any other thread, and Python then interrupts the
    main thread all the same. Other threads are never interrupted, so there is nothing to do for them.
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
