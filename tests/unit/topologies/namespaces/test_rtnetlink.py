"""rtnetlink messages: what is packed is what pyroute2 reads, and what is read is what was packed."""

from __future__ import annotations

import errno
import struct

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from topologies.namespaces import rtnetlink
from topologies.namespaces.rtnetlink import Message

IFNAME, MTU = 3, 4
ATTRIBUTES = st.lists(st.tuples(st.integers(1, 0xFFFF), st.binary(max_size=40)), max_size=6)
MESSAGES = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=6)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@given(ATTRIBUTES, st.binary(max_size=16).map(padded))
def test_attributes_are_read_as_they_were_packed(attributes: list[tuple[int, bytes]], before: bytes) -> None:
    body = before + b"".join(rtnetlink.attribute(*one) for one in attributes)
    assert len(body) % 4 == 0
    assert list(rtnetlink.read_attributes(body, len(before))) == attributes


@given(MESSAGES, st.integers(0, 0xFFFF))
def test_messages_are_read_as_they_were_packed(messages: list[tuple[int, bytes]], flags: int) -> None:
    data = b"".join(padded(rtnetlink.message(kind, body, flags)) for kind, body in messages)
    assert list(rtnetlink.read_messages(data)) == [Message(*one) for one in messages]


@given(ATTRIBUTES, MESSAGES, st.integers(1, 60))
def test_what_is_cut_off_is_left_out(
    attributes: list[tuple[int, bytes]], messages: list[tuple[int, bytes]], cut: int
) -> None:
    body = b"".join(rtnetlink.attribute(*one) for one in attributes)[:-cut]
    found = list(rtnetlink.read_attributes(body, 0))
    assert found == attributes[: len(found)]
    data = b"".join(padded(rtnetlink.message(kind, body, 0)) for kind, body in messages)[:-cut]
    whole = list(rtnetlink.read_messages(data))
    assert whole == [Message(*one) for one in messages[: len(whole)]]


@given(st.binary(max_size=120))
def test_no_bytes_raise_an_error(noise: bytes) -> None:
    for message in rtnetlink.read_messages(noise):
        assert message.body in noise
        rtnetlink.read_code(message)
    for _, value in rtnetlink.read_attributes(noise, 0):
        assert value in noise
        rtnetlink.read_number(value)


def test_pyroute2_reads_a_request_as_it_was_meant() -> None:
    body = rtnetlink.LINK.pack(0, 0, 7, 1, 0)
    body += rtnetlink.attribute(IFNAME, b"eth0\0") + rtnetlink.attribute(MTU, rtnetlink.number(1460))
    read = ifinfmsg(rtnetlink.message(rtnetlink.SETLINK, body, rtnetlink.REQUEST | rtnetlink.ACK))
    read.decode()
    assert (read["header"]["type"], read["header"]["flags"]) == (rtnetlink.SETLINK, 5)
    assert (read["index"], read["flags"]) == (7, 1)
    assert (read.get_attr("IFLA_IFNAME"), read.get_attr("IFLA_MTU")) == ("eth0", 1460)


def test_numbers_and_codes() -> None:
    assert rtnetlink.read_number(rtnetlink.number(0xFFFFFFFF)) == 0xFFFFFFFF
    assert rtnetlink.read_number(b"abc") is None
    assert rtnetlink.read_code(Message(rtnetlink.ERROR, struct.pack("=i", -errno.EEXIST))) == errno.EEXIST
    assert rtnetlink.read_code(Message(rtnetlink.ERROR, bytes(20))) == 0
    assert rtnetlink.read_code(Message(rtnetlink.ERROR, b"")) is None
    assert rtnetlink.read_code(Message(rtnetlink.NEWLINK, bytes(20))) is None
