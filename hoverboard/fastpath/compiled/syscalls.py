"""The system calls that the engines make from compiled code, without the interpreter lock.

They are declared as external symbols. A ctypes pointer would be a run-time constant, and Numba could not cache the
compiled engine on disk.
"""

from __future__ import annotations

import platform

import numpy as np
from numba import types
from numpy.typing import NDArray

from hoverboard.fastpath.compiled.compiler import compiled

# ssize_t read(int fd, void *buffer, size_t count); addresses are passed as integers.
read = types.ExternalFunction("read", types.intp(types.int32, types.uintp, types.uintp))
write = types.ExternalFunction("write", types.intp(types.int32, types.uintp, types.uintp))
# ssize_t sendto(int fd, const void *buffer, size_t count, int flags, const struct sockaddr *to, socklen_t length)
sendto = types.ExternalFunction(
    "sendto", types.intp(types.int32, types.uintp, types.uintp, types.int32, types.uintp, types.uint32)
)
# ssize_t recvfrom(int fd, void *buffer, size_t count, int flags, struct sockaddr *from, socklen_t *length)
recvfrom = types.ExternalFunction(
    "recvfrom", types.intp(types.int32, types.uintp, types.uintp, types.int32, types.uintp, types.uintp)
)
# void *memcpy(void *target, const void *source, size_t count), void *memset(void *target, int byte, size_t count)
memcpy = types.ExternalFunction("memcpy", types.uintp(types.uintp, types.uintp, types.uintp))
memset = types.ExternalFunction("memset", types.uintp(types.uintp, types.int32, types.uintp))
# int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout_ms)
epoll_wait = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.uintp, types.int32, types.int32))
# int clock_gettime(clockid_t clock, struct timespec *now); the vDSO answers without entering the kernel
clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
# int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
clock_nanosleep = types.ExternalFunction(
    "clock_nanosleep", types.int32(types.int32, types.int32, types.uintp, types.uintp)
)
# int timerfd_settime(int fd, int flags, const struct itimerspec *time, struct itimerspec *before)
timerfd_settime = types.ExternalFunction(
    "timerfd_settime", types.int32(types.int32, types.int32, types.uintp, types.uintp)
)

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
# struct epoll_event {uint32_t events; uint64_t data}: packed on x86-64 alone.
PACKED = platform.machine() == "x86_64"
EVENT_WORDS, EVENT_DATA_WORD = (3, 1) if PACKED else (4, 2)  # in units of 4 bytes


@compiled
def now_ns(clock: NDArray[np.int64]) -> int:
    """Monotonic time in nanoseconds; `clock` is scratch space of 2 words."""
    clock_gettime(np.int32(CLOCK_MONOTONIC), np.uintp(clock.ctypes.data))
    return clock[0] * 1_000_000_000 + clock[1]
