"""Messages of rtnetlink (netlink(7), rtnetlink(7)): packed for requests, and read from what the kernel sends. Pure.

pyroute2 takes 0.3 s to import, which every command that looks for runs would pay, and ten times as long for one
request. So the few messages that have to be quick are packed here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

# linux/netlink.h, linux/rtnetlink.h, linux/net_namespace.h
ERROR, NEWLINK, GETLINK, SETLINK, NEWADDR, NEWROUTE, NEWNSID = 2, 16, 18, 19, 20, 24, 88
REQUEST, ACK, EXCL, CREATE = 0x1, 0x4, 0x200, 0x400  # flags of a message
LINK = struct.Struct("=BxHiII")  # family, type, index, flags, changed flags
LARGEST = 1 << 16  # bytes of a datagram that the kernel sends

_HEADER, _ATTRIBUTE, _CODE = struct.Struct("=IHHII"), struct.Struct("=HH"), struct.Struct("=i")
_NUMBER = struct.Struct("=I")
_SEQUENCE = 1  # the same for all: each socket has one request on its way


class Message(NamedTuple):
    """A message of the kernel.

    Attributes:
        kind: NEWLINK, ERROR, ...
        body: all after the header.
    """

    kind: int
    body: bytes


def message(kind: int, body: bytes, flags: int) -> bytes:
    """A request."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, _SEQUENCE, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded for the next one."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def number(value: int) -> bytes:
    """The value of an attribute that is a number of 32 bits."""
    return _NUMBER.pack(value)


def read_messages(data: bytes) -> Iterator[Message]:
    """The messages in a datagram, up to one that is cut off."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        end = at + length
        if length < _HEADER.size or end > len(data):
            return
        yield Message(kind, data[at + _HEADER.size : end])
        at = end + -end % 4


def read_attributes(body: bytes, after: int) -> Iterator[tuple[int, bytes]]:
    """(kind, value) of the attributes that follow the first `after` bytes of a body, up to one that is cut off."""
    at = after
    while at + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        if size < _ATTRIBUTE.size or at + size > len(body):
            return
        yield kind, body[at + _ATTRIBUTE.size : at + size]
        at += size + -size % 4


def read_number(value: bytes) -> int | None:
    """The number in the value of an attribute; None if it is too short for one."""
    return int(_NUMBER.unpack_from(value)[0]) if len(value) >= _NUMBER.size else None


def read_code(answer: Message) -> int | None:
    """The code in an answer, as in `errno`; 0: the kernel did what was asked; None: the message is of another kind."""
    if answer.kind != ERROR or len(answer.body) < _CODE.size:
        return None
    return -int(_CODE.unpack_from(answer.body)[0])
