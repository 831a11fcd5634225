"""A pool of threads for the work of a phase: items in parallel; the first failure ends the phase."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_THREADS = 8  # they mostly wait for the kernel and other processes


class ThreadPool:
    """The threads of one run."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="testbed")

    def submit(self, work: Callable[[], R]) -> Future[R]:
        """Do `work` in the background."""
        return self._pool.submit(work)

    def each(self, work: Callable[[T], object], items: Iterable[T]) -> None:
        """Do `work` for all items; after a failure start no further item, and raise the error."""
        futures = [self._pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            for future in futures:
                future.cancel()

    def stop(self) -> None:
        """Start no more work, and wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)
