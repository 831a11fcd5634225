"""Changes of links, as they stand in the kernel's messages; real links are in the system ring."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from topologies.guests.link_events import LinkEvent, link_events

NEWLINK, DELLINK, NAME, MTU, UP = 16, 17, 3, 4, 1
_HEADER, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")


def attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def message(index: int, flags: int, *attributes: bytes, kind: int = NEWLINK) -> bytes:
    body = _LINK.pack(0, 1, index, flags, 0) + b"".join(attributes)
    return _HEADER.pack(_HEADER.size + len(body), kind, 0, 0, 0) + body


def mtu(value: int) -> bytes:
    return attribute(MTU, struct.pack("=I", value))


def test_a_change_says_which_link_is_up_and_how_large() -> None:
    name = attribute(NAME, b"eth0\0")
    data = message(2, 0x1002, name, mtu(1460)) + message(3, 0x1003, mtu(576), name)
    assert link_events(7, data) == [LinkEvent(7, 2, False, 1460), LinkEvent(7, 3, True, 576)]


def test_other_messages_and_missing_values_are_passed_over() -> None:
    data = message(2, UP, mtu(1460), kind=DELLINK) + message(4, UP)
    assert link_events(7, data) == [LinkEvent(7, 4, True, 0)]


@given(st.binary(max_size=120), st.integers(0, 60))
def test_no_bytes_raise_an_error(noise: bytes, cut: int) -> None:
    link_events(1, noise)
    data = message(2, UP, noise, mtu(1460))
    assert len(link_events(1, data[:cut])) <= 1
    assert len(link_events(1, data + noise)) >= 1
