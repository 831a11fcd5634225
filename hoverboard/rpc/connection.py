"""One connection of a server: what has arrived, what is to be sent. Never waits."""

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
    """For connections whose end is nobody's business."""


@dataclass(frozen=True)
class Service:
    """What one connection is served: its methods, and what is called when it has ended."""

    methods: Methods
    ended: Callable[[], None] = _nothing


class Connection:
    """A peer's connection, as its server sees it.

    Args:
        sock: is the connection's from now on.
        longest: bytes of a request.

    Attributes:
        service: what the peer is served.
        watched: what of epoll's events the server waits for; 0: it is not registered.
        working: a thread carries out a request of it.
        taken: somebody else has its socket now.
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
        self._riding = Descriptors()  # with its first byte

    @property
    def sending(self) -> bool:
        """Whether the last answer has not gone yet."""
        return bool(self._outgoing)

    def put(self, answer: Answer) -> None:
        """Have an answer sent by the next flush()."""
        self._outgoing, self._riding = memoryview(answer.line), answer.descriptors

    def flush(self) -> None:
        """Send as much as the peer takes now. OSError: it has gone."""
        with contextlib.suppress(BlockingIOError):
            while self._outgoing:
                sent = descriptors.send(self.socket, self._outgoing, self._riding.numbers)
                self._outgoing = self._outgoing[sent:]
                self._riding.close()

    def take(self) -> Channel:
        """For a method of this connection: the socket is the caller's now, and the request gets no answer."""
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
        """Close the socket, and every descriptor that came or was to go."""
        self._outgoing = memoryview(b"")
        self._riding.close()
        self.inbox.close()
        self.socket.close()
