"""One end of a connection that waits: sends and receives whole messages, each with a deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hoverboard.contract.errors import RunError
from hoverboard.rpc import descriptors
from hoverboard.rpc.messages import MOST_ANSWER, Inbox, decode, encode

_PAUSE = 0.005  # seconds between two attempts to connect


class Deadline:
    """A moment in `seconds` from now; None: no deadline."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds until the deadline, 0 when it has passed; None: there is no deadline."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def check(self) -> float | None:
        """Seconds until the deadline. TimeoutError: it has passed."""
        left = self.left()
        if left == 0.0:
            raise TimeoutError("timed out")
        return left


class Channel:
    """A connected Unix socket, for one exchange of messages at a time.

    Args:
        sock: the socket, which the channel owns from now on.
        most: bytes of a message that it receives.

    Attributes:
        socket: to poll for the end of the connection.
        inbox: the bytes that have arrived.
    """

    def __init__(self, sock: socket.socket, most: int = MOST_ANSWER) -> None:
        self.socket = sock
        self.inbox = Inbox(most)
        self._closing = threading.Lock()

    @classmethod
    def connect(cls, path: str | Path, seconds: float | None) -> Channel:
        """Wait until a server listens on `path` and accepts.

        Raises:
            RunError: no server does within `seconds`, or the path cannot be connected to.
        """
        deadline = Deadline(seconds)
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)  # connect() would wait for room in the backlog, without a limit
                sock.connect(str(path))
            except OSError as error:
                sock.close()
                if not isinstance(error, FileNotFoundError | ConnectionRefusedError | BlockingIOError):
                    raise RunError(f"no connection: {error}", where=str(path)) from error
                if deadline.left() == 0.0:
                    raise RunError(
                        f"nothing listens on {path} after {seconds:g} s",
                        next_step="see the log files of the run; `hoverboard status` shows what is alive",
                    ) from error
                select.select([], [], [], _PAUSE)
            else:
                return cls(sock)

    def send(self, message: Mapping[str, Any], numbers: Sequence[int] = (), deadline: Deadline | None = None) -> None:
        """Send a message with copies of descriptors. OSError: the peer has closed, or does not read in time."""
        self.send_line(encode({**message, "fds": len(numbers)} if numbers else message), numbers, deadline)

    def send_line(self, line: bytes, numbers: Sequence[int] = (), deadline: Deadline | None = None) -> None:
        """Send a message that is encoded already; see send()."""
        rest = memoryview(line)
        while rest:
            self.socket.settimeout(deadline.check() if deadline else None)
            rest = rest[descriptors.send(self.socket, rest, numbers) :]
            numbers = ()  # they went with the first byte

    def receive_line(self, deadline: Deadline | None = None) -> bytes | None:
        """The next line; None when the peer has closed. OSError: no line arrived in time, or it is too long."""
        while (line := self.inbox.line()) is None:
            self.socket.settimeout(deadline.check() if deadline else None)
            if not self.inbox.receive(self.socket):
                return None
        return line

    def receive(self, deadline: Deadline | None = None) -> tuple[dict[str, Any], descriptors.Descriptors] | None:
        """The next message and its descriptors; None when the peer has closed.

        Raises:
            InputError: it is not a message. OSError: no message arrived in time, or it is too long.
        """
        line = self.receive_line(deadline)
        if line is None:
            return None
        message = decode(line)
        taken = self.inbox.take(message)
        self.inbox.close_strays()
        return message, taken

    def interrupt(self) -> None:
        """End the connection for another thread that waits on it; close() is still needed."""
        with self._closing, contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, and descriptors that arrived and were not taken."""
        with self._closing:
            self.inbox.close()
            self.socket.close()
