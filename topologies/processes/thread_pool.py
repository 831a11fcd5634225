"""A pool of threads that does a phase's work: all items in parallel, the first failure ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_THREADS = 8  # mostly waiting for the kernel and for other processes


class ThreadPool:
    """Threads of one run."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="testbed")

    def submit(self, work: Callable[[], R]) -> Future[R]:
        """Do `work` in the background."""
        return self._pool.submit(work)

    def each(self, work: Callable[[T], object], items: Iterable[T]) -> None:
        """Do `work` for all items; raises the first failure, and then starts no more of them."""
        futures = [self._pool.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            for future in futures:
                future.cancel()

    def stop(self) -> None:
        """Start nothing more, and wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)
