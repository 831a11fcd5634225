"""Segments cut in software against packets that scapy checksums itself."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hoverboard.fastpath.packets.segment import complete_checksum, cut, headers_length
from tests.unit.hoverboard.packets import IP, TCP, UDP, Ether, Raw, array, frame


def vnet(gso_type=0, size=0, start=34, offset=16, flags=1):
    return struct.pack("<BBHHHHH", flags, gso_type, 0, size, start, offset, 0)


def cut_all(header, data):
    buffer = array(header + data)
    headers = headers_length(buffer, 12, len(data))
    assert headers > 0
    size = struct.unpack_from("<H", header, 4)[0]
    payload = len(data) - headers
    pieces, out = [], np.zeros(70000, np.uint8)
    for done in range(0, payload, size):
        take = min(size, payload - done)
        n = cut(buffer, 12, headers, done, take, done + take == payload, out, 0)
        pieces.append(bytes(out[:n]))
    return pieces


@settings(max_examples=30)
@given(st.integers(8, 1400), st.integers(0, 5), st.integers(1, 1400), st.integers(0, 2**32 - 1))
@example(1400, 6, 1400, 2**32 - 5000)  # whole pieces only; the sequence number wraps
@example(9, 20, 1, 2**32 - 1)  # odd pieces, and a last one of a byte
@example(1001, 3, 500, 0)
def test_tcp_pieces_are_whole_packets_and_carry_the_same_bytes(size, more, last, sequence):
    length = more * size + min(last, size)
    payload = bytes(i * 7 & 0xFF for i in range(length))
    data = frame(TCP(sport=1, dport=2, seq=sequence, flags="PAC", options=[("NOP", None)] * 4) / Raw(payload), id=65535)
    pieces = cut_all(vnet(1, size), data)
    packets = [Ether(piece) for piece in pieces]
    assert len(packets) == more + 1
    assert b"".join(bytes(packet[TCP].payload) for packet in packets) == payload
    for number, (piece, packet) in enumerate(zip(pieces, packets, strict=True)):
        fresh = packet.copy()
        del fresh[IP].chksum, fresh[TCP].chksum, fresh[IP].len
        assert bytes(fresh) == piece
        assert packet[TCP].seq == (sequence + number * size) % 2**32
        assert packet[IP].id == (65535 + number) % 65536
        assert (number == more) == packet[TCP].flags.P
        assert (number == 0) == packet[TCP].flags.C


def test_udp_pieces():
    data = frame(UDP(sport=1, dport=2) / Raw(bytes(range(250)) * 10))
    for piece in cut_all(vnet(5, 1000, offset=6), data):
        fresh = Ether(piece)
        del fresh[IP].chksum, fresh[UDP].chksum, fresh[IP].len, fresh[UDP].len
        assert bytes(fresh) == piece


@pytest.mark.parametrize(("layer", "offset"), [(TCP, 16), (UDP, 6)])
def test_a_begun_checksum_is_finished(layer, offset):
    whole = frame(layer(sport=1, dport=2) / Raw(b"odd length!"))
    size = len(whole) - 34
    pseudo = whole[26:34] + bytes([0, whole[23]]) + size.to_bytes(2, "big")
    partial = sum(struct.unpack("!6H", pseudo))
    partial = (partial & 0xFFFF) + (partial >> 16)
    begun = bytearray(whole)
    begun[34 + offset : 36 + offset] = partial.to_bytes(2, "big")
    buffer = array(vnet(offset=offset) + bytes(begun))
    assert complete_checksum(buffer, 12, len(whole))
    assert bytes(buffer[12:]) == whole


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (vnet(1, 1400, start=60), frame(TCP() / Raw(b"x" * 2000))),
        (vnet(1, 0), frame(TCP() / Raw(b"x" * 2000))),
        (vnet(4, 1400), frame(TCP() / Raw(b"x" * 2000))),
        (vnet(1, 1400), frame(UDP() / Raw(b"x" * 2000))),
        (vnet(1, 1400), frame(TCP(dataofs=15))),
        (vnet(1, 1400), frame(TCP())[:50]),
        (vnet(1, 1400), frame(TCP())),
        (vnet(1, 1400), bytes(Ether(type=0x0806)) + frame(TCP() / Raw(b"x" * 2000))[14:]),
    ],
    ids=[
        "wrong checksum start", "no size", "ipv6 type", "udp as tcp", "options past the end", "short", "no payload",
        "arp",
    ],
)  # fmt: skip
def test_what_cannot_be_cut(header, data):
    assert headers_length(array(header + data), 12, len(data)) == -1


def test_checksum_outside_the_frame_is_refused():
    assert not complete_checksum(array(vnet(start=60, offset=16) + frame()), 12, len(frame()))
    assert not complete_checksum(array(vnet(start=0) + frame()), 12, len(frame()))
