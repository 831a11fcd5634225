"""The parser alone: what it makes of the golden packets, and that it reads past no frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.fastpath.memory import packets, reasons
from hoverboard.fastpath.packets.parse import OTHER, PARSED, parse
from tests.golden_packets import read_all
from tests.unit.hoverboard.packets import array, empty_key, empty_packet, frame

FROM_VMS = [golden for golden in read_all() if not golden.from_fabric]


@pytest.mark.parametrize("golden", FROM_VMS, ids=[golden.name for golden in FROM_VMS])
def test_golden_packets(golden):
    key, packet = empty_key(), empty_packet()
    verdict = parse(array(golden.frame), 0, len(golden.frame), 100, 0, key, packet)
    if golden.row is None:
        assert reasons.NAMES[verdict] == golden.drop
        return
    match = golden.row.match
    assert verdict == (PARSED if "nw_src" in match else OTHER)
    assert (key[0] >> 48 & 0xFFFF, key[0] >> 32 & 0xFFFF) == (100, match["dl_type"])
    assert key[0] >> 24 & 0xFF == match.get("nw_proto", 0)
    source, target = ("tp_src", "tp_dst") if "tp_src" in match else ("icmp_type", "icmp_code")
    if source in match:
        assert packet[packets.PORTS] == match[source] << 16 | match[target]
    elif match.get("nw_frag") == "later":
        assert packet[packets.PORTS] == 0


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
