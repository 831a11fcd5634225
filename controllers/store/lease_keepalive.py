"""Keeps leases alive from a separate thread.

So a controller that computes for seconds keeps its lease, and one whose process is stopped or dead loses it. The thread
ends with its owner's `close`, and with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

Keep = Callable[[int], bool | None]  # renews a lease; False: it has ended, None: no answer, so unknown
_TURNS = 4  # renewals within a lease's time


class LeaseKeepalive:
    """Calls `keep` for every lease at regular intervals.

    Args:
        keep: renews one lease.
        ended: the event that the thread waits on between renewals; set by `close`.
    """

    def __init__(self, keep: Keep, ended: threading.Event | None = None) -> None:
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._leases: dict[int, tuple[float, Callable[[], None]]] = {}
        self._ended = ended or threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lease: int, seconds: float, lost: Callable[[], None]) -> None:
        """Keep a lease alive; if it ends, the loop calls `lost`."""
        with self._lock:
            self._leases[lease] = (seconds, lost)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
            self._thread.start()

    def remove(self, lease: int) -> None:
        """Stop to keep a lease alive."""
        with self._lock:
            self._leases.pop(lease, None)

    def close(self) -> None:
        """End the thread, without waiting: it may be in a call."""
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
