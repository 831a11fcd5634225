"""Messages of a connection: one JSON object a line, of bounded length, with its descriptors."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from hoverboard.contract.errors import InputError
from hoverboard.rpc import descriptors
from hoverboard.rpc.descriptors import Descriptors, TooManyDescriptors

MOST_REQUEST = 1 << 24  # bytes; a topology file is the longest
MOST_ANSWER = 1 << 26  # bytes; a flow table is the longest


class TooLong(ConnectionError):
    """A peer sent more bytes without a newline than a message may have."""


def encode(message: Mapping[str, Any]) -> bytes:
    """The line of a message. TypeError, ValueError: it holds other types than JSON's."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of a line. InputError: it is not a JSON object."""
    try:
        # Not json.loads(bytes), which guesses at other encodings. RecursionError: thousands of brackets.
        message = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not a line of JSON: {error}") from error
    if not isinstance(message, dict):
        raise InputError(f"this is JSON, but not an object: a {type(message).__name__}")
    return message


class Inbox:
    """The bytes and descriptors of one connection that no message has used yet.

    Args:
        most: bytes of a message.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()
        self._searched = 0  # bytes in which there is no newline
        self._descriptors: list[int] = []

    def receive(self, sock: socket.socket) -> bool:
        """Read available bytes, or wait for some; False when the peer has closed.

        Raises:
            TooManyDescriptors: no message can use so many; TooLong: see `line`. OSError: the socket failed.
        """
        data, numbers = descriptors.receive(sock)
        self._descriptors += numbers
        self._bytes += data
        if len(self._descriptors) > descriptors.MOST:
            raise TooManyDescriptors(f"more than {descriptors.MOST} descriptors that no message announced")
        if not self.complete and len(self._bytes) > self._most:
            raise TooLong(f"a message longer than {self._most} bytes")
        return bool(data)

    @property
    def complete(self) -> bool:
        """Whether a whole line has arrived."""
        at = self._bytes.find(b"\n", self._searched)
        self._searched = len(self._bytes) if at < 0 else at
        return at >= 0

    def line(self) -> bytes | None:
        """The next line without its newline; None when it is not complete. TooLong: it has too many bytes."""
        if not self.complete:
            return None
        line = bytes(self._bytes[: self._searched])
        del self._bytes[: self._searched + 1]
        self._searched = 0
        if len(line) > self._most:
            raise TooLong(f"a message longer than {self._most} bytes")
        return line

    def take(self, message: Mapping[str, Any]) -> Descriptors:
        """Take the descriptors that a message announces in "fds".

        Raises:
            InputError: so many have not arrived, or "fds" is not a number.
        """
        count = message.get("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._descriptors):
            there = len(self._descriptors)
            raise InputError(f"the message announces {count!r} descriptors, and {there} came")
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return Descriptors(taken)

    def close_strays(self) -> None:
        """Close descriptors that no message announced, unless a part of a message is here that may do so."""
        if not self._bytes:
            self.close()

    def close(self) -> None:
        """Close all descriptors that were not taken."""
        Descriptors(self._descriptors).close()
        self._descriptors = []
