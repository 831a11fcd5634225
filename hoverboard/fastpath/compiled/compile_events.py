"""Tells which functions Numba compiles because the cache on disk lacks them: a first start takes long for that."""

from __future__ import annotations

from collections.abc import Callable

from numba.core import event


class _Listener(event.Listener):
    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify

    def on_start(self, event: event.Event) -> None:
        self._notify(str(event.data["dispatcher"].py_func.__qualname__))

    def on_end(self, event: event.Event) -> None:
        pass


def on_compile(notify: Callable[[str], None]) -> None:
    """Call `notify` from now on with the name of each function of which the compilation begins."""
    event.register("numba:compile", _Listener(notify))
