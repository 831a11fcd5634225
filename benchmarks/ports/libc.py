"""System calls for compiled prototypes, and a clock. Addresses are passed as integers.

They are declared as external symbols, as in hoverboard.fastpath.compiled.syscalls, so that compiled code can be cached.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np
from numba import types
from numpy.typing import NDArray

from hoverboard.contract.errors import MachineError
from hoverboard.fastpath.compiled.compiler import compiled

Words = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_i32, _u, _p = types.int32, types.uintp, types.intp
read = types.ExternalFunction("read", _p(_i32, _u, _u))
write = types.ExternalFunction("write", _p(_i32, _u, _u))
poll = types.ExternalFunction("poll", _i32(_u, _u, _i32))
# int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout_ms)
epoll_wait = types.ExternalFunction("epoll_wait", _i32(_i32, _u, _i32, _i32))
# int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
recvmmsg = types.ExternalFunction("recvmmsg", _i32(_i32, _u, types.uint32, _i32, _u))
sendmmsg = types.ExternalFunction("sendmmsg", _i32(_i32, _u, types.uint32, _i32))
sendto = types.ExternalFunction("sendto", _p(_i32, _u, _u, _i32, _u, types.uint32))
# long syscall(long number, ...): with six arguments, all of a register's width
syscall = types.ExternalFunction("syscall", _p(_p, _p, _p, _p, _p, _p, _p))
_clock_gettime = types.ExternalFunction("clock_gettime", _i32(_i32, _u))

MSG_DONTWAIT, MSG_WAITFORONE = 0x40, 0x10000
POLLIN = 1


@compiled
def nanoseconds(spec: Words) -> int:
    """Time of CLOCK_MONOTONIC; `spec` (2,) is room for a struct timespec."""
    _clock_gettime(np.int32(1), np.uintp(spec.ctypes.data))
    return spec[0] * 1_000_000_000 + spec[1]


def message_vector(buffers: Bytes, count: int, stride: int, length: int, offset: int = 0) -> tuple[Words, Words]:
    """`struct mmsghdr[count]` as (count, 8) words and its `struct iovec[count]` as (count, 2).

    Message i has one buffer, `length` bytes from buffers[i * stride + offset] on. The lower half of word 7 of a header
    is msg_len.
    """
    vectors = np.zeros((count, 2), np.int64)
    vectors[:, 0] = buffers.ctypes.data + offset + np.arange(count) * stride
    vectors[:, 1] = length
    headers = np.zeros((count, 8), np.int64)
    headers[:, 2] = vectors.ctypes.data + np.arange(count) * 16
    headers[:, 3] = 1
    return headers, vectors


_plain = ctypes.CDLL(None, use_errno=True)
_plain.syscall.restype = ctypes.c_long
_plain.mmap.restype = ctypes.c_void_p
_plain.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]


def checked(what: str, number: int, *arguments: int) -> int:
    """The result of a system call from Python; raises MachineError with `what` when it fails."""
    result = _plain.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        raise MachineError(f"{what}: {os.strerror(ctypes.get_errno())}", next_step="see this port in docs/ports.md")
    return int(result)


def mapped(fd: int, length: int, offset: int) -> Bytes:
    """`length` bytes of a descriptor's ring, shared and populated; they stay until the process ends."""
    address = _plain.mmap(None, length, 3, 0x8001, fd, offset)  # READ|WRITE, SHARED|POPULATE
    if address in (None, ctypes.c_void_p(-1).value):
        raise MachineError(f"mmap: {os.strerror(ctypes.get_errno())}", next_step="see this port in docs/ports.md")
    return np.ctypeslib.as_array((ctypes.c_uint8 * length).from_address(address))
