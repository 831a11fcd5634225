"""Golden packets for the parser: description, packet in, verdict, key words that matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.fastpath.memory import packets, reasons
from hoverboard.fastpath.packets.parse import OTHER, PARSED, parse
from tests.unit.hoverboard.packets import (
    ARP,
    ICMP,
    IP,
    TCP,
    UDP,
    Dot1Q,
    Ether,
    Raw,
    array,
    empty_key,
    empty_packet,
    frame,
)

GOLDEN = [
    ("udp", frame(), PARSED, 17, 1000 << 16 | 2000),
    ("tcp with options", frame(TCP(sport=5, dport=6, options=[("MSS", 1400)])), PARSED, 6, 5 << 16 | 6),
    ("icmp echo", frame(ICMP(type=8, code=0)), PARSED, 1, 8 << 16),
    ("protocol without ports", frame(Raw(b"x" * 8), proto=47), PARSED, 47, 0),
    ("ip options", frame(UDP(sport=1, dport=2), options=b"\x01" * 4), PARSED, 17, 1 << 16 | 2),
    ("later fragment has no ports", frame(Raw(b"y" * 16), proto=17, frag=10), PARSED, 17, 0),
    ("first fragment has ports", frame(UDP(sport=3, dport=4), flags="MF"), PARSED, 17, 3 << 16 | 4),
    ("arp", bytes(Ether() / ARP()), OTHER, 0, 0),
    ("vlan", bytes(Ether() / Dot1Q(vlan=5) / IP() / UDP()), reasons.VLAN, None, None),
    ("short ethernet", b"\x00" * 13, reasons.SHORT, None, None),
    ("empty", b"", reasons.SHORT, None, None),
    ("truncated ip", frame()[:30], reasons.IPV4, None, None),
    ("ip version 5", frame()[:14] + b"\x55" + frame()[15:], reasons.IPV4, None, None),
    ("header length 16", frame()[:14] + b"\x44" + frame()[15:], reasons.IPV4, None, None),
    ("total length past the frame", frame()[:16] + b"\xff\xff" + frame()[18:], reasons.IPV4, None, None),
    ("total length below the header", frame()[:16] + b"\x00\x10" + frame()[18:], reasons.IPV4, None, None),
    ("udp header cut off", frame(Raw(b"123"), proto=17), reasons.IPV4, None, None),
    ("tcp header cut off", frame(Raw(b"1" * 19), proto=6), reasons.IPV4, None, None),
]


@pytest.mark.parametrize(("data", "verdict", "proto", "ports"), [g[1:] for g in GOLDEN], ids=[g[0] for g in GOLDEN])
def test_golden(data, verdict, proto, ports):
    key, packet = empty_key(), empty_packet()
    assert parse(array(data), 0, len(data), 100, 0, key, packet) == verdict
    if verdict in (PARSED, OTHER):
        assert key[0] >> 48 & 0xFFFF == 100
        assert key[0] >> 24 & 0xFF == proto
        assert packet[packets.PORTS] == ports


def test_key_holds_addresses_macs_and_tunnel():
    key = empty_key()
    data = frame(tos=1)
    parse(array(data), 0, len(data), 1, 172 << 32 | 7, key, empty_packet())
    assert [int(word) for word in key[1:5]] == [
        172 << 32 | 7,
        0x06070A000002,
        0x02005E000001,
        0x0A000002 << 32 | 0x0A000003,
    ]
    assert key[0] >> 4 & 3 == 1  # ECN


@given(st.binary(max_size=120), st.integers(0, 3))
def test_any_bytes_parse_without_reading_past_the_frame(data, before):
    """The array ends with the frame; NUMBA_BOUNDSCHECK=1 turns a read past it into an error."""
    verdict = parse(array(data, before), before, len(data), 1, 0, empty_key(), empty_packet())
    assert verdict in (PARSED, OTHER, reasons.SHORT, reasons.IPV4, reasons.IPV6, reasons.VLAN)
