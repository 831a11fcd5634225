"""Keeps leases alive from a thread of its own.

A controller that computes for seconds is alive all the same; one whose process is stopped or gone is
not. The thread ends with its owner's `close`, and with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

Keep = Callable[[int], bool | None]  # keep a lease alive; False: it is over, None: no answer, which says nothing
_TURNS = 4  # an attempt each quarter of a lease's time


class LeaseKeepalive:
    """Calls `keep` for every lease, again and again.

    Args:
        keep: keeps one alive.
        ended: what the thread waits on between two turns; set by `close`.
    """

    def __init__(self, keep: Keep, ended: threading.Event | None = None) -> None:
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._leases: dict[int, tuple[float, Callable[[], None]]] = {}
        self._ended = ended or threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lease: int, seconds: float, lost: Callable[[], None]) -> None:
        """Keep one more alive; `lost` is called, from the loop, should it end."""
        with self._lock:
            self._leases[lease] = (seconds, lost)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
            self._thread.start()

    def remove(self, lease: int) -> None:
        """Keep it alive no longer."""
        with self._lock:
            self._leases.pop(lease, None)

    def close(self) -> None:
        """End the thread; it is not waited for, it may be in a call."""
        self._ended.set()

    def _run(self) -> None:
        pause = 0.25
        while not self._ended.wait(pause):
            with self._lock:
                leases = dict(self._leases)
            for lease, (_, lost) in leases.items():
                if self._keep(lease) is False and not self._ended.is_set():
                    with self._lock:
                        if self._leases.pop(lease, None) is None:
                            continue
                    self._loop.call_soon_threadsafe(lost)
            pause = min((seconds for seconds, _ in leases.values()), default=1.0) / _TURNS


KeepaliveFactory = Callable[[Keep], LeaseKeepalive]
