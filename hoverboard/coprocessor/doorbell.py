"""How a producer of packets wakes a coprocessor thread: only when it sleeps (paper section 4.1).

A word in memory says whether the thread sleeps; a producer that finds it 0 has nothing to do. The
word is an int64 array, so that compiled code without the GIL can read it, and the bell is an eventfd.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_SHORT = 0.02  # seconds: below it poll()'s milliseconds are too coarse for a shaper, select() has microseconds
_SELECT_MAX = 1024  # descriptors that select() can take


class Waiter(Protocol):
    """The worker's side of a doorbell."""

    def arm(self) -> None:
        """From now on producers ring. What came before is not rung for: look once more, then wait."""

    def wait(self, timeout: float | None) -> None:
        """Sleep until it rings, at most `timeout` seconds; it may also return for no reason."""

    def disarm(self) -> None:
        """Awake: producers need not ring."""

    def ring(self) -> None:
        """Wake the thread if it sleeps; from any thread."""


class Doorbell:
    """The real one.

    Attributes:
        sleeping: (1,) int64; a producer that has put a packet in reads it (after a full fence) and
            writes 1 to `fd` when it is not 0.
        fd: the eventfd, 8 bytes a write.
    """

    def __init__(self) -> None:
        self.sleeping: NDArray[np.int64] = np.zeros(1, np.int64)
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)
        self._fence = threading.Lock()

    def arm(self) -> None:
        """From now on producers ring."""
        self.sleeping[0] = 1
        # The store above must be seen before the worker's next look at the ring, or both sides could miss each other.
        # Processors let a load pass an older store; taking a lock is an atomic exchange, which nothing passes.
        with self._fence:
            pass

    def wait(self, timeout: float | None) -> None:
        """Sleep until it rings, at most `timeout` seconds."""
        if timeout is not None and timeout < _SHORT and self.fd < _SELECT_MAX:
            rung = bool(select.select([self.fd], [], [], max(0.0, timeout))[0])
        else:
            rung = bool(self._poll.poll(None if timeout is None else timeout * 1000))
        if rung:
            os.eventfd_read(self.fd)

    def disarm(self) -> None:
        """Awake."""
        self.sleeping[0] = 0

    def ring(self) -> None:
        """Wake the thread if it sleeps."""
        with self._fence:
            pass
        if self.sleeping[0]:
            os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Give the descriptor back; the thread must have ended."""
        os.close(self.fd)
