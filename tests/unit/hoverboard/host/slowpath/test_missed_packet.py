"""Missed packets: out of the engine's ring, and by parts."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.memory import packets, ports, rings
from hoverboard.fastpath.memory.arrays import allocate
from hoverboard.fastpath.packets import ring
from hoverboard.host.slowpath.missed_packet import BURST, MissedPacket, parsed, take
from hoverboard.testing.memory_host import key_of, tunnel_word
from tests.unit.hoverboard.flow_miss_oracle import LOCAL, OFPORT, PORT, REMOTE, from_fabric
from tests.unit.hoverboard.packets import array, frame

NO_VNET = bytes(packets.VNET_BYTES)
INNER = frame()


@pytest.fixture
def engine():
    return allocate()[0]


def push(m, data, port=PORT, kind=rings.MISS_FLOW, tunnel=0):
    packet = array(data)
    assert ring.push(
        m.miss_index,
        m.miss_meta,
        m.miss_data,
        port,
        packets.HEADROOM - packets.VNET_BYTES,
        kind,
        tunnel,
        packet,
        0,
        len(packet),
    )


def test_packets_are_taken_in_order_with_all_that_goes_with_them(engine):
    push(engine, b"first", 3, rings.MISS_STAGED + 1, 99)
    push(engine, b"second, longer", ports.UPLINK)
    assert take(engine) == [
        MissedPacket(3, rings.MISS_STAGED + 1, 99, b"first"),
        MissedPacket(ports.UPLINK, rings.MISS_FLOW, 0, b"second, longer"),
    ]
    assert take(engine) == []
    assert engine.pending[[ports.COUNT + 3, ports.COUNT + ports.UPLINK, ports.COUNT + PORT]].tolist() == [1, 1, 0], (
        "their port may miss again"
    )


def test_a_burst_is_so_many(engine):
    for number in range(BURST + 3):
        push(engine, bytes([number]))
    assert [one.frame[0] for one in take(engine)] == list(range(8))
    assert [one.frame[0] for one in take(engine)] == [8, 9, 10]


def test_a_vms_packet_is_its_port_and_its_headers():
    key, ports, inner = parsed(MissedPacket(PORT, rings.MISS_FLOW, 0, NO_VNET + INNER), LOCAL, OFPORT)
    assert (key, ports, inner) == (key_of(INNER, OFPORT), 1000 << 16 | 2000, INNER)


def test_a_packet_of_the_fabric_is_its_tunnel_and_its_inner_headers():
    key, _ports, inner = parsed(
        MissedPacket(ports.UPLINK, rings.MISS_FLOW, 0, NO_VNET + from_fabric(INNER, 9)), LOCAL, 0
    )
    assert (key, inner) == (key_of(INNER, TUNNEL_PORT, tunnel_word(REMOTE, 9)), INNER)


def test_a_packet_that_comes_from_a_coprocessor_is_the_inner_one_already():
    word = tunnel_word(REMOTE, 9)
    key, _ports, inner = parsed(MissedPacket(ports.UPLINK, rings.MISS_STAGED, word, NO_VNET + INNER), LOCAL, 0)
    assert (key, inner) == (key_of(INNER, TUNNEL_PORT, word), INNER)


def test_what_is_not_ip_has_a_key_too():
    arp = b"\xff" * 6 + INNER[6:12] + b"\x08\x06" + bytes(28)
    key, ports, inner = parsed(MissedPacket(PORT, rings.MISS_FLOW, 0, NO_VNET + arp), LOCAL, OFPORT)
    assert (key[0] >> 48, ports, inner) == (OFPORT, 0, arp)


@pytest.mark.parametrize(
    ("port", "data", "reason"),
    [
        (PORT, INNER[:20], "malformed-ipv4"),
        (PORT, INNER[:9], "short-frame"),
        (PORT, INNER[:12] + b"\x86\xdd" + INNER[14:], "malformed-ipv6"),
        (PORT, INNER[:12] + b"\x81\x00" + INNER[14:], "vlan"),
        (ports.UPLINK, from_fabric(INNER)[:60], "malformed-outer"),
        (ports.UPLINK, from_fabric(INNER[:20]), "malformed-ipv4"),
        (ports.UPLINK, INNER, "not-for-this-host"),
        (ports.UPLINK, INNER[:12] + b"\x08\x06" + INNER[14:], "not-geneve"),
    ],
    ids=["cut", "shorter", "not IPv6", "VLAN", "cut in the fabric", "cut before the fabric", "not ours", "ARP"],
)
def test_what_is_malformed_has_a_reason_and_no_parts(port, data, reason):
    assert parsed(MissedPacket(port, rings.MISS_FLOW, 0, NO_VNET + data), LOCAL, OFPORT) == reason


def test_a_packet_for_another_host_has_no_parts():
    assert (
        parsed(
            MissedPacket(ports.UPLINK, rings.MISS_FLOW, 0, NO_VNET + from_fabric(INNER)), IPv4Address("172.16.0.9"), 0
        )
        == "not-for-this-host"
    )
