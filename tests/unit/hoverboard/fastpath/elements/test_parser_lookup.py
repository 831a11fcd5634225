"""Golden packets for parser, look-up and account: description, packet in, verdict, key or counter."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.elements.account import account
from hoverboard.fastpath.elements.lookup import look_up
from hoverboard.fastpath.elements.parser import parse_packets
from hoverboard.fastpath.memory import control, entries, packets, ports, reasons, rings
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.fastpath.packets.parse import OTHER, PARSED
from hoverboard.testing.memory_host import OFPORTS, VM, key_of, tunnel_word
from tests.unit.hoverboard.packets import ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, Raw, frame

OPTIONS = [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)]
PORTS_1_2 = 1 << 16 | 2


def six(payload, **ip):
    ip = {"src": "fd00::2", "dst": "fd00::3", **ip}
    return bytes(Ether(src="06:07:0a:00:00:02", dst="02:00:5e:00:00:01") / IPv6(**ip) / payload)


def udp():
    return UDP(sport=1, dport=2)


def dot1ad(inner):
    return bytes(Ether(type=0x88A8) / Dot1Q(vlan=9, type=0x8100) / Dot1Q(vlan=5) / inner)


# description, packet, verdict, protocol, ports, fragment (0 no, 1 first, 2 later), ECN
UNDERSTOOD = [
    ("udp", frame(udp()), PARSED, 17, PORTS_1_2, 0, 0),
    ("tcp with options", frame(TCP(sport=1, dport=2, options=OPTIONS)), PARSED, 6, PORTS_1_2, 0, 0),
    ("ipv4 options", frame(udp(), options=b"\x01" * 40), PARSED, 17, PORTS_1_2, 0, 0),
    ("congestion experienced", frame(udp(), tos=3), PARSED, 17, PORTS_1_2, 0, 3),
    ("icmp", frame(ICMP(type=3, code=4)), PARSED, 1, 3 << 16 | 4, 0, 0),
    ("gre has no ports", frame(Raw(b"1234"), proto=47), PARSED, 47, 0, 0, 0),
    ("first fragment", frame(udp(), flags="MF"), PARSED, 17, PORTS_1_2, 1, 0),
    ("later fragment", frame(Raw(b"x" * 8), proto=17, frag=1), PARSED, 17, 0, 2, 0),
    ("last fragment, one byte", frame(Raw(b"x"), proto=6, frag=100), PARSED, 6, 0, 2, 0),
    ("padded to 60 bytes", frame(udp()).ljust(60, b"\0"), PARSED, 17, PORTS_1_2, 0, 0),
    ("reserved flag alone is no fragment", frame(udp(), flags=4), PARSED, 17, PORTS_1_2, 0, 0),
    ("arp", bytes(Ether() / ARP()), OTHER, 0, 0, 0, 0),
    ("14 bytes of another type", bytes(Ether(type=0x88CC)), OTHER, 0, 0, 0, 0),
    ("802.3 length", bytes(Ether(type=100)) + bytes(100), OTHER, 0, 0, 0, 0),
    ("ipv6 udp", six(udp()), PARSED, 17, PORTS_1_2, 0, 0),
    ("ipv6 tcp with options", six(TCP(sport=1, dport=2, options=OPTIONS)), PARSED, 6, PORTS_1_2, 0, 0),
    ("ipv6 ecn", six(udp(), tc=0xFE), PARSED, 17, PORTS_1_2, 0, 2),
    ("icmpv6", six(ICMPv6EchoRequest()), PARSED, 58, 128 << 16, 0, 0),
    ("ipv6 hop-by-hop", six(IPv6ExtHdrHopByHop() / udp()), PARSED, 17, PORTS_1_2, 0, 0),
    ("ipv6 routing", six(IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=0) / udp()), PARSED, 17, PORTS_1_2, 0, 0),
    (
        "ipv6, three headers",
        six(IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"]) / IPv6ExtHdrDestOpt() / udp()),
        PARSED, 17, PORTS_1_2, 0, 0,
    ),
    ("ipv6 first fragment", six(IPv6ExtHdrFragment(m=1) / udp()), PARSED, 17, PORTS_1_2, 1, 0),
    ("ipv6 later fragment", six(IPv6ExtHdrFragment(offset=1, nh=17) / Raw(b"x" * 8)), PARSED, 17, 0, 2, 0),
    ("ipv6 later fragment of an extension", six(IPv6ExtHdrFragment(offset=1, nh=60) / Raw(b"x")), PARSED, 60, 0, 2, 0),
    ("ipv6 atomic fragment is none", six(IPv6ExtHdrFragment() / udp()), PARSED, 17, PORTS_1_2, 0, 0),
    ("ipv6 no next header", six(b"", nh=59), PARSED, 59, 0, 0, 0),
    ("ipv6 padded", six(udp()) + bytes(30), PARSED, 17, PORTS_1_2, 0, 0),
]  # fmt: skip


def bent(data, at, value):
    return data[:at] + value + data[at + len(value) :]


# description, packet, drop reason
REFUSED = [
    ("13 bytes", bytes(13), "short-frame"),
    ("vlan", bytes(Ether() / Dot1Q(vlan=5) / IP() / UDP()), "vlan"),
    ("priority tag, vlan 0", bytes(Ether() / Dot1Q(vlan=0, prio=3) / IP() / UDP()), "vlan"),
    ("qinq", dot1ad(IP() / UDP()), "vlan"),
    ("vlan without a tag's bytes", bytes(Ether(type=0x8100)), "vlan"),
    ("ipv4 of 0 bytes", frame()[:14], "malformed-ipv4"),
    ("ipv4 of 19 bytes", frame()[:33], "malformed-ipv4"),
    ("ipv4 version 6", bent(frame(), 14, b"\x65"), "malformed-ipv4"),
    ("ipv4 header of 16", bent(frame(), 14, b"\x44"), "malformed-ipv4"),
    ("ipv4 header past the frame", bent(frame(), 14, b"\x4f"), "malformed-ipv4"),
    ("ipv4 total length past the frame", bent(frame(), 16, b"\x00\x1d"), "malformed-ipv4"),
    ("ipv4 total length below its header", bent(frame(), 16, b"\x00\x13"), "malformed-ipv4"),
    ("udp cut short", frame(Raw(bytes(7)), proto=17), "malformed-ipv4"),
    ("tcp cut short", frame(Raw(bytes(19)), proto=6), "malformed-ipv4"),
    ("icmp cut short", frame(Raw(bytes(3)), proto=1), "malformed-ipv4"),
    ("first fragment without its ports", frame(Raw(bytes(4)), proto=17, flags="MF"), "malformed-ipv4"),
    ("padding is no transport header", frame(Raw(bytes(4)), proto=17).ljust(60, b"\0"), "malformed-ipv4"),
    ("ipv6 of 39 bytes", six(udp())[:53], "malformed-ipv6"),
    ("ipv6 version 4", bent(six(udp()), 14, b"\x45"), "malformed-ipv6"),
    ("ipv6 length past the frame", six(udp(), plen=9), "malformed-ipv6"),
    ("ipv6 udp cut short", six(Raw(bytes(7)), nh=17), "malformed-ipv6"),
    ("ipv6 tcp cut short", six(Raw(bytes(19)), nh=6), "malformed-ipv6"),
    ("ipv6 extension cut short", six(Raw(bytes(7)), nh=0), "malformed-ipv6"),
    ("ipv6 extension past the packet", six(Raw(b"\x11\x01" + bytes(13)), nh=60), "malformed-ipv6"),
    ("ipv6 fragment header cut short", six(Raw(bytes(7)), nh=44), "malformed-ipv6"),
]


def names(table):
    return [row[0] for row in table]


@pytest.mark.parametrize(("packet", "verdict", "proto", "ports", "frag", "ecn"),
                         [row[1:] for row in UNDERSTOOD], ids=names(UNDERSTOOD))  # fmt: skip
def test_what_is_understood(host, packet, verdict, proto, ports, frag, ecn):
    m = host.egress
    n = host.batch(m, slot := host.place(m, packet, VM))
    assert parse_packets(m, n) == 1
    key = [int(word) for word in m.packet_keys[slot]]
    assert int(m.packets[slot, packets.PARSED]) == verdict
    assert key[0] >> 48 == OFPORTS[VM]
    assert key[0] >> 32 & 0xFFFF == int.from_bytes(packet[12:14], "big")
    assert (key[0] >> 24 & 0xFF, key[0] >> 4 & 3, key[0] >> 2 & 3, key[0] & 3) == (proto, ecn, frag, 0)
    assert int(m.packets[slot, packets.PORTS]) == ports
    assert key[1:4] == [0, int.from_bytes(packet[6:12], "big"), int.from_bytes(packet[:6], "big")]
    addresses = b"".join((word & (1 << 64) - 1).to_bytes(8, "big") for word in key[4:])
    four, sixteen = packet[26:34], packet[22:54]
    expected = {0x0800: four, 0x86DD: sixteen}.get(key[0] >> 32 & 0xFFFF, b"")
    assert addresses == expected.ljust(32, b"\0")
    assert not host.drops()


@pytest.mark.parametrize(("packet", "reason"), [row[1:] for row in REFUSED], ids=names(REFUSED))
def test_what_is_refused(host, packet, reason):
    m = host.egress
    assert parse_packets(m, host.batch(m, host.place(m, packet, VM))) == 0
    assert host.drops() == {reason: 1}
    assert host.all_free(m)


def test_what_is_refused_leaves_the_others_in_order(host):
    m = host.egress
    slots = [host.place(m, data, VM) for data in (frame(), bytes(5), six(udp()), bytes(Ether(type=0x8100)), frame())]
    assert parse_packets(m, host.batch(m, *slots)) == 3
    assert list(m.batch[:3]) == slots[::2]
    assert m.ctl[control.FREE] == packets.POOL_SLOTS - 3


def test_from_the_fabric_the_key_has_the_tunnel_and_its_port(host):
    m = host.ingress
    parse_packets(m, host.batch(m, slot := host.place(m, frame(), ports.UPLINK, tunnel=tunnel_word())))
    assert m.packet_keys[slot, 0] >> 48 == TUNNEL_PORT
    assert m.packet_keys[slot, 1] == tunnel_word()


THREE, OTHER_PORTS = frame(udp()), frame(UDP(sport=1, dport=3))


def looked_up(host, packet, port=VM, staged=0, m=None):
    m = m or host.egress
    n = parse_packets(m, host.batch(m, slot := host.place(m, packet, port, staged=staged)))
    n = look_up(m, n)
    return int(m.entries[m.packets[slot, packets.INDEX], 1]) if n else None


def test_look_up_prefers_the_three_tuple_then_the_five_tuple_then_misses(host):
    host.table.update([(key_of(THREE, OFPORTS[VM], five=True), Entry(entries.ACT_VPORT, 7))])
    assert looked_up(host, THREE) == 7
    assert looked_up(host, OTHER_PORTS) is None
    host.table.update([(key_of(THREE, OFPORTS[VM]), Entry(entries.ACT_VPORT, 8))])
    assert looked_up(host, THREE) == 8
    assert looked_up(host, OTHER_PORTS) == 8


@pytest.mark.parametrize(
    ("description", "packet", "port"),
    [
        ("another port", THREE, VM + 1),
        ("another protocol", frame(TCP(sport=1, dport=2)), VM),
        ("another destination", bent(THREE, 33, b"\x04"), VM),
        ("another source", bent(THREE, 29, b"\x04"), VM),
        ("another sender's MAC", bent(THREE, 6, b"\x06" * 6), VM),
        ("another target's MAC", b"\xff" * 6 + THREE[6:], VM),
        ("a fragment", frame(udp(), flags="MF"), VM),
        ("another ECN", frame(udp(), tos=1), VM),
        ("ipv6", six(udp()), VM),
    ],
)
def test_whatever_differs_misses(host, description, packet, port):
    host.table.update([(key_of(THREE, OFPORTS[VM]), Entry(entries.ACT_VPORT, 8))])
    assert looked_up(host, packet, port) is None
    (missed,) = host.missed(host.egress)
    assert (missed.frame, missed.kind, missed.port) == (packet, rings.MISS_FLOW, port)


@pytest.mark.parametrize("word", range(22, 54))
def test_every_byte_of_an_ipv6_address_counts(host, word):
    packet = six(udp())
    host.table.update([(key_of(packet, OFPORTS[VM]), Entry(entries.ACT_VPORT, 9))])
    assert looked_up(host, packet) == 9
    assert looked_up(host, bent(packet, word, bytes([packet[word] ^ 1]))) is None


def test_a_tunnel_from_another_host_or_network_misses(host):
    host.table.update([(key_of(THREE, TUNNEL_PORT, tunnel_word()), Entry(entries.ACT_VPORT, 9))])
    for tunnel, found in ((tunnel_word(), 1), (tunnel_word(vni=7), 0), (tunnel_word() ^ 1 << 32, 0)):
        m = host.ingress
        n = parse_packets(m, host.batch(m, host.place(m, THREE, ports.UPLINK, tunnel=tunnel)))
        assert look_up(m, n) == found


def test_a_staged_miss_takes_its_inner_frame_and_tunnel_along(host):
    m = host.ingress
    n = parse_packets(m, host.batch(m, host.place(m, THREE, ports.UPLINK, tunnel=77, staged=1)))
    assert look_up(m, n) == 0
    (missed,) = host.missed(m)
    assert (missed.frame, missed.kind, missed.tunnel) == (THREE, rings.MISS_STAGED, 77)


def test_one_vm_cannot_take_all_miss_slots(host):
    m = host.egress
    for _ in range(rings.MISSES_PER_PORT + 3):
        looked_up(host, THREE)
    assert host.drops() == {"miss-queue-full": 3}
    assert looked_up(host, THREE, VM + 1) is None
    assert host.drops() == {"miss-queue-full": 3}
    assert len(host.missed(m)) == rings.MISSES_PER_PORT + 1
    assert host.all_free(m)


def account_one(host, entry, staged=0):
    m = host.egress
    key = key_of(THREE, OFPORTS[VM])
    host.table.update([(key, entry)])
    n = parse_packets(m, host.batch(m, host.place(m, THREE, VM, staged=staged)))
    return account(m, look_up(m, n)), host.table.counted(key)


def test_a_packet_is_counted_with_the_bytes_of_its_inner_frame(host):
    assert account_one(host, Entry(entries.ACT_VPORT, 3)) == (1, (1, len(THREE)))


def test_a_packet_back_from_its_stages_is_not_counted_again(host):
    assert account_one(host, Entry(entries.ACT_VPORT, 3), staged=1) == (1, (0, 0))


def test_a_drop_entry_counts_and_drops_by_its_reason(host):
    assert account_one(host, Entry(entries.ACT_DROP, reasons.NAMES.index("spoofed"))) == (0, (1, len(THREE)))
    assert host.drops() == {"spoofed": 1}
    assert host.all_free(host.egress)
