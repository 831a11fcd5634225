"""A lock that knows its holder, and containers that note every touch by a thread without the lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound="dict[Any, Any] | list[Any] | set[Any]")
# The ways in of each kind of container that its own methods in C do not go past.
_TOUCHED = {
    "__contains__", "__delitem__", "__getitem__", "__iter__", "__len__", "__setitem__", "add", "append", "clear",
    "discard", "get", "items", "keys", "pop", "popitem", "remove", "update", "values",
}  # fmt: skip


class OwnedLock:
    """A lock.

    Attributes:
        without: what was touched by threads that did not hold it, by name and method.
    """

    def __init__(self) -> None:
        self.without: list[str] = []
        self._lock = threading.Lock()
        self._holder = 0

    def __enter__(self) -> OwnedLock:
        self._lock.acquire()
        self._holder = threading.get_ident()
        return self

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._lock.release()

    @property
    def held(self) -> bool:
        """Whether this thread holds it."""
        return self._holder == threading.get_ident()

    def checked(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The function, which notes each call by a thread that does not hold the lock."""

        def checking(*args: Any, **more: Any) -> Any:
            if not self.held:
                self.without.append(name)
            return call(*args, **more)

        return checking


def guarded(thing: T, lock: OwnedLock, name: str) -> T:
    """A container with the same contents, to be touched by the holder of the lock alone."""
    kind = type(thing)
    methods = {one: lock.checked(getattr(kind, one), f"{name}.{one}") for one in _TOUCHED & set(dir(kind))}
    with lock:
        return type(f"Guarded{kind.__name__}", (kind,), methods)(thing)  # type: ignore[no-any-return]
