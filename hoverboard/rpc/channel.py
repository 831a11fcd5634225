"""One end of a connection that waits: sends and receives whole messages, each by a deadline."""

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

_PAUSE = 0.005  # seconds between two looks at whether somebody listens


class Deadline:
    """A moment in `seconds` from now; None: never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds until then, 0 when it has passed; None: it never does."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def check(self) -> float | None:
        """Seconds until then. TimeoutError: it has passed."""
        left = self.left()
        if left == 0.0:
            raise TimeoutError("timed out")
        return left


class Channel:
    """A connected Unix socket, for one exchange of messages at a time.

    Args:
        sock: is the channel's from now on.
        most: bytes of a message that comes.

    Attributes:
        socket: for whoever waits for the end of the connection.
        inbox: what has arrived.
    """

    def __init__(self, sock: socket.socket, most: int = MOST_ANSWER) -> None:
        self.socket = sock
        self.inbox = Inbox(most)
        self._closing = threading.Lock()

    @classmethod
    def connect(cls, path: str | Path, seconds: float | None) -> Channel:
        """Wait until somebody listens on `path` and takes the connection.

        Raises:
            RunError: nobody does after `seconds`, or never will.
        """
        deadline = Deadline(seconds)
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)  # connect() would wait for room in the backlog, for ever
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
        """Send a message with copies of some descriptors; OSError when the peer has gone, or never reads."""
        self.send_line(encode({**message, "fds": len(numbers)} if numbers else message), numbers, deadline)

    def send_line(self, line: bytes, numbers: Sequence[int] = (), deadline: Deadline | None = None) -> None:
        """As send(), of a message that is encoded already."""
        rest = memoryview(line)
        while rest:
            self.socket.settimeout(deadline.check() if deadline else None)
            rest = rest[descriptors.send(self.socket, rest, numbers) :]
            numbers = ()  # they went with the first byte

    def receive_line(self, deadline: Deadline | None = None) -> bytes | None:
        """The next line; None when the peer has closed. OSError: there is none in time, or it is too long."""
        while (line := self.inbox.line()) is None:
            self.socket.settimeout(deadline.check() if deadline else None)
            if not self.inbox.receive(self.socket):
                return None
        return line

    def receive(self, deadline: Deadline | None = None) -> tuple[dict[str, Any], descriptors.Descriptors] | None:
        """The next message and its descriptors; None when the peer has closed.

        Raises:
            InputError: it is no message. OSError: there is none in time, or it is too long.
        """
        line = self.receive_line(deadline)
        if line is None:
            return None
        message = decode(line)
        taken = self.inbox.take(message)
        self.inbox.close_strays()
        return message, taken

    def interrupt(self) -> None:
        """End the connection for whoever waits on it, in another thread; it is still to be closed."""
        with self._closing, contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, and the descriptors that came over it and were not taken."""
        with self._closing:
            self.inbox.close()
            self.socket.close()
