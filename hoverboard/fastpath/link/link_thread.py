"""The thread that serves one link, and its descriptors: two taps, a timer, a wake-up."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
import time

from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.link.link_loop import WAKE, serve_link
from hoverboard.fastpath.link.link_memory import (
    STOP,
    Direction,
    counters,
    new_direction,
    new_thread_memory,
    set_properties,
)

# A wire does not wait for a CPU, and netem runs before all processes. So the thread is a real-time one, of the lowest
# priority; it sleeps between two looks, and Linux leaves a twentieth of the CPU to others. Without that right:
PRIORITY = -10  # nice level: the engines' own
_EPOLL_CTL_ADD = 1
_EVENTS = select.EPOLLIN | select.EPOLLET
_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    _pack_ = 4 if syscalls.PACKED else 8
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _come_first() -> None:
    """Give the calling thread precedence over other work, as far as this process may."""
    thread = threading.get_native_id()
    try:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except OSError:  # not root, or a control group without real-time share
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, PRIORITY)


class LinkThread:
    """One link between two taps.

    Args:
        near: descriptor of a tap with virtio-net headers; it and `far` belong to the link from now on.
        far: descriptor of the tap at the other end.
        directions: the memories of the two directions; default: new ones.

    Raises:
        OSError: a descriptor cannot be polled, or there are no descriptors left; both taps are closed then.
    """

    def __init__(self, near: int, far: int, directions: tuple[Direction, Direction] | None = None) -> None:
        self._fds = [near, far]
        try:
            for fd in (near, far):
                os.set_blocking(fd, False)
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._fds.append(self._wake)
            timer = _checked(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
            self._fds.append(timer)
            self._epoll = select.epoll()
            for data, fd in ((0, near), (1, far), (WAKE, self._wake), (WAKE, timer)):
                event = _Event(_EVENTS, data)
                _checked(_libc.epoll_ctl(self._epoll.fileno(), _EPOLL_CTL_ADD, fd, ctypes.byref(event)))
        except OSError:
            for fd in self._fds:
                os.close(fd)
            raise
        self._near, self._far = near, far
        self._memory = new_thread_memory(self._epoll.fileno(), timer)
        self._directions = directions or (new_direction(), new_direction())
        self._thread: threading.Thread | None = None
        self._clock: int | None = None

    def set_properties(self, properties: LinkProperties) -> None:
        """Set the properties of both directions; packets that are inside leave as they would have."""
        for number, direction in enumerate(self._directions):
            set_properties(direction, properties, 2 * (properties.seed or 0) + number)

    def counters(self) -> tuple[dict[str, int], dict[str, int]]:
        """The counters of the direction from `near` to `far`, and of the other one."""
        there, back = self._directions
        return counters(there), counters(back)

    def cpu_seconds(self) -> float:
        """CPU time of the thread so far."""
        return 0.0 if self._clock is None else time.clock_gettime(self._clock)

    def start(self) -> None:
        """Start the thread; the first call in a process without a warm cache compiles for a while."""
        self._memory.thread[STOP] = 0
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()
        assert self._thread.ident is not None
        self._clock = time.pthread_getcpuclockid(self._thread.ident)

    def _run(self) -> None:
        _come_first()
        _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)  # naps end when they should
        serve_link(self._memory, *self._directions, self._near, self._far)

    def run_once(self) -> None:
        """Return from the loop at once, in the calling thread: this compiles or loads it."""
        self._memory.thread[STOP] = 1
        serve_link(self._memory, *self._directions, self._near, self._far)

    def close(self) -> None:
        """Stop the thread and close the descriptors; packets that wait are lost."""
        self._memory.thread[STOP] = 1
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
            self._thread, self._clock = None, None
        self._epoll.close()
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


def load() -> None:
    """Compile or load the code of a link, without starting one."""
    near, far = os.eventfd(0, os.EFD_CLOEXEC), os.eventfd(0, os.EFD_CLOEXEC)
    link = LinkThread(near, far, (new_direction(2, 1 << 18), new_direction(2, 1 << 18)))
    link.run_once()
    link.close()
