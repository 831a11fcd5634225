"""One connection of a server: received bytes, and the answer to send. Never blocks."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from hoverboard.rpc import descriptors
from hoverboard.rpc.answering import Answer, Methods
from hoverboard.rpc.channel import Channel
from hoverboard.rpc.descriptors import Descriptors
from hoverboard.rpc.messages import Inbox


def _nothing() -> None:
    """Do nothing when a connection has ended."""


@dataclass(frozen=True)
class Service:
    """The methods of one connection, and a callback for its end."""

    methods: Methods
    ended: Callable[[], None] = _nothing


class Connection:
    """A peer's connection, as its server sees it.

    Args:
        sock: the socket, which the connection owns from now on.
        longest: bytes of a request.

    Attributes:
        service: the methods that the peer may call.
        watched: the epoll events that the server waits for; 0: the socket is not registered.
        working: a thread carries out a request of this connection.
        taken: a method has taken the socket; it is no longer the connection's.
    """

    def __init__(self, sock: socket.socket, longest: int) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.inbox = Inbox(longest)
        self.service = Service({})
        self.watched = 0
        self.working = False
        self.taken = False
        self._outgoing = memoryview(b"")
        self._riding = Descriptors()  # to be sent with the first byte

    @property
    def sending(self) -> bool:
        """Whether a part of the last answer is still to be sent."""
        return bool(self._outgoing)

    def put(self, answer: Answer) -> None:
        """Set the answer that the next flush() sends."""
        self._outgoing, self._riding = memoryview(answer.line), answer.descriptors

    def flush(self) -> None:
        """Send as many bytes as the peer takes now. OSError: it has closed."""
        with contextlib.suppress(BlockingIOError):
            while self._outgoing:
                sent = descriptors.send(self.socket, self._outgoing, self._riding.numbers)
                self._outgoing = self._outgoing[sent:]
                self._riding.close()

    def take(self) -> Channel:
        """Give the socket to the caller, a method of this connection; its request gets no answer."""
        self.taken = True
        self.inbox.close()
        return Channel(self.socket)

    def end(self, last: Answer | None = None, seconds: float = 0.0) -> None:
        """Send a last answer, if the peer takes it within `seconds`, and close."""
        if last is not None:
            self.put(last)
            self.socket.settimeout(seconds)
        with contextlib.suppress(OSError):
            self.flush()
        self.close()

    def close(self) -> None:
        """Close the socket, and all descriptors that were received or to be sent."""
        self._outgoing = memoryview(b"")
        self._riding.close()
        self.inbox.close()
        self.socket.close()
