"""The system calls that the engine makes from compiled code, without the interpreter lock.

Declared as external symbols, not as ctypes pointers: a pointer would be a run-time constant and
would keep Numba from caching the compiled engine on disk.
"""

from __future__ import annotations

from numba import types

# ssize_t read(int fd, void *buffer, size_t count); addresses are passed as integers.
read = types.ExternalFunction("read", types.intp(types.int32, types.uintp, types.uintp))
write = types.ExternalFunction("write", types.intp(types.int32, types.uintp, types.uintp))
# int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
poll = types.ExternalFunction("poll", types.int32(types.uintp, types.uintp, types.int32))
