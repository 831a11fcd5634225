"""Wakes a sleeping coprocessor thread when a producer has put packets into its ring (paper section 4.1).

A word in memory says whether the thread sleeps; while it is 0, a producer does not ring. The word is an int64 array, so
that compiled code can read it without the GIL. The bell is an eventfd.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_SHORT = 0.02  # seconds: for shorter waits poll()'s milliseconds are too coarse for a shaper; select() has microseconds
_SELECT_MAX = 1024  # descriptors that select() can take


class Waiter(Protocol):
    """The worker's side of a doorbell."""

    def arm(self) -> None:
        """Have producers ring from now on. Earlier packets did not ring: check the ring once more, then wait."""

    def wait(self, timeout: float | None) -> None:
        """Sleep until the bell rings, at most `timeout` seconds; it may also return without a ring."""

    def disarm(self) -> None:
        """Say that the thread is awake: producers need not ring."""

    def ring(self) -> None:
        """Wake the thread if it sleeps; any thread may call this."""


class Doorbell:
    """The doorbell of a real thread, with an eventfd.

    Attributes:
        sleeping: (1,) int64. A producer puts a packet in, makes a full fence, and reads this word; if it is not 0, it
            writes 1 to `fd`.
        fd: the eventfd, 8 bytes a write.
    """

    def __init__(self) -> None:
        self.sleeping: NDArray[np.int64] = np.zeros(1, np.int64)
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)
        self._fence = threading.Lock()

    def arm(self) -> None:
        """Have producers ring from now on."""
        self.sleeping[0] = 1
        # Producers must see the store above before the worker reads the ring again, or a packet could wait unseen.
        # A processor may execute a load before an older store. Taking a lock is an atomic exchange, which stops that.
        with self._fence:
            pass

    def wait(self, timeout: float | None) -> None:
        """Sleep until the bell rings, at most `timeout` seconds."""
        if timeout is not None and timeout < _SHORT and self.fd < _SELECT_MAX:
            rung = bool(select.select([self.fd], [], [], max(0.0, timeout))[0])
        else:
            rung = bool(self._poll.poll(None if timeout is None else timeout * 1000))
        if rung:
            os.eventfd_read(self.fd)

    def disarm(self) -> None:
        """Say that the thread is awake."""
        self.sleeping[0] = 0

    def ring(self) -> None:
        """Wake the thread if it sleeps."""
        with self._fence:
            pass
        if self.sleeping[0]:
            os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Close the descriptor; the thread must have ended."""
        os.close(self.fd)
