"""File descriptors over a Unix socket (SCM_RIGHTS): each received descriptor has an owner, or is closed."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable, Sequence
from types import TracebackType

MOST = 16  # descriptors of one connection that no method has taken yet
_CHUNK = 1 << 16  # bytes
_INT = array.array("i").itemsize


class TooManyDescriptors(ConnectionError):
    """A peer sent more descriptors than a server accepts."""


class Descriptors:
    """Descriptors that came with a message; a context manager that closes those that were not taken."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self.numbers = list(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __enter__(self) -> Descriptors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take(self, count: int | None = None) -> list[int]:
        """Take the first `count` descriptors, or all; the caller closes them."""
        count = len(self.numbers) if count is None else count
        taken, self.numbers = self.numbers[:count], self.numbers[count:]
        return taken

    def close(self) -> None:
        """Close descriptors that were not taken."""
        for number in self.take():
            os.close(number)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Receive some bytes, b"" at the end, and the descriptors that came with them, which the caller owns.

    Raises:
        TooManyDescriptors: more than MOST came at once, or this process has no number left; all are closed.
    """
    room = socket.CMSG_SPACE(MOST * _INT)
    data, ancillary, flags, _address = sock.recvmsg(_CHUNK, room, socket.MSG_CMSG_CLOEXEC)
    numbers = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % _INT])
    if flags & socket.MSG_CTRUNC:
        Descriptors(numbers).close()
        raise TooManyDescriptors(f"more than {MOST} descriptors at once, or no room for them")
    return data, list(numbers)


def send(sock: socket.socket, data: bytes | bytearray | memoryview, numbers: Sequence[int] = ()) -> int:
    """Send some of `data`, and all descriptors with its first byte; return the number of bytes. Closes nothing."""
    if not numbers:
        return sock.send(data)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))])
