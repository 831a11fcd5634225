"""Ethernet, encapsulation, transmit and decapsulation, against packets that scapy makes."""

from __future__ import annotations

import struct

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet6 import IPv6

from hoverboard.contract.encapsulation import OUTER_BYTES, SEGMENT_OPTION_BYTES
from hoverboard.fastpath.elements.decapsulate import decapsulate_packets
from hoverboard.fastpath.elements.encapsulate import CUT, encapsulate_packets
from hoverboard.fastpath.elements.ethernet import set_ethernet
from hoverboard.fastpath.elements.lookup import look_up
from hoverboard.fastpath.elements.parser import parse_packets
from hoverboard.fastpath.elements.transmit import transmit
from hoverboard.fastpath.memory import entries, packets, ports, rings
from hoverboard.fastpath.memory import host as host_words
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.testing.memory_host import (
    LOCAL,
    NO_VNET,
    OFPORTS,
    OTHER_VM,
    PEER,
    REMOTE,
    VM,
    VNI,
    key_of,
    to_tunnel,
    tunnel_word,
    unwrapped,
    vnet,
)
from tests.unit.hoverboard.packets import ARP, IP, TCP, UDP, Ether, Raw, frame

MACS = bytes(range(1, 13))


def six(payload, **ip):
    return bytes(Ether(src="06:07:0a:00:00:02", dst="02:00:5e:00:00:01") / IPv6(src="fd00::2", dst="fd00::3", **ip)
                 / payload)  # fmt: skip


def begun(packet, offset):
    """`packet` with its transport checksum only begun: the sum over the pseudo-header."""
    start = 54 if packet[12:14] == b"\x86\xdd" else 34
    addresses = packet[22:54] if start == 54 else packet[26:34]
    proto = packet[20] if start == 54 else packet[23]
    words = addresses + struct.pack("!HH", proto, len(packet) - start)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[: start + offset] + struct.pack("!H", total) + packet[start + offset + 2 :]


def ready(host, packet, entry, header=NO_VNET):
    """The packet looked up; its slot, and the length of the batch."""
    m = host.egress
    host.table.update([(key_of(packet, OFPORTS[VM]), entry)])
    n = parse_packets(m, host.batch(m, slot := host.place(m, packet, VM, header)))
    return slot, look_up(m, n)


def encapsulated(host, packet, header=NO_VNET, entry=None):
    slot, n = ready(host, packet, entry or to_tunnel(), header)
    return slot, encapsulate_packets(host.egress, n)


def leaves(host, packet, header=NO_VNET, entry=None):
    """What leaves by the uplink."""
    _, n = encapsulated(host, packet, header, entry)
    transmit(host.egress, n)
    assert host.all_free(host.egress)
    return host.sent(ports.UPLINK)


def outer_of(data):
    """The outer headers as scapy reads them, its IPv4 checksum verified."""
    outer = Ether(data)
    given = outer[IP].chksum
    del outer[IP].chksum
    assert Ether(bytes(outer))[IP].chksum == given
    assert outer[IP].len == len(data) - 14
    assert outer[UDP].len == len(data) - 34
    assert (outer[UDP].dport, outer[UDP].chksum) == (6081, 0)
    assert (outer[IP].src, outer[IP].dst, outer[GENEVE].vni) == (str(LOCAL), str(REMOTE), VNI)
    return outer


@pytest.mark.parametrize(("rewrite", "expected"), [(b"", frame()), (MACS, MACS + frame()[12:])])
def test_ethernet(host, rewrite, expected):
    slot, n = ready(host, frame(), Entry(entries.ACT_VPORT, OTHER_VM, rewrite))
    assert set_ethernet(host.egress, n) == 1
    assert host.frame(host.egress, slot, packets.FRAME) == expected


class TestEncapsulate:
    def test_to_a_vm_of_this_host_as_it_is(self, host):
        header = vnet(1, 1400)
        slot, n = encapsulated(host, frame(TCP()), header, Entry(entries.ACT_VPORT, OTHER_VM))
        assert n == 1
        assert host.egress.packets[slot, packets.OUT] == OTHER_VM
        transmit(host.egress, n)
        (out,) = host.sent(OTHER_VM)
        assert (out.vnet, out.frame) == (header, frame(TCP()))

    @pytest.mark.parametrize("peer_takes_segments", [False, True])
    def test_a_complete_packet_goes_without_an_option(self, host, peer_takes_segments):
        host.egress.peers[PEER] = peer_takes_segments
        (out,) = leaves(host, frame())
        outer_of(out.frame)
        assert unwrapped(out.frame) == frame()
        assert out.vnet == NO_VNET

    @pytest.mark.parametrize(
        ("packet", "header"),
        [
            (frame(TCP(flags="A") / Raw(bytes(30_000))), vnet(1, 1400)),
            (six(TCP(flags="A") / Raw(bytes(30_000))), vnet(4, 1400, start=54)),
            (frame(UDP() / Raw(bytes(100))), vnet(offset=6)),
        ],
        ids=["tcp segment", "ipv6 tcp segment", "begun checksum"],
    )
    def test_a_segment_is_carried_whole_with_its_header_as_option(self, host, packet, header):
        host.egress.peers[PEER] = 1
        (out,) = leaves(host, packet, header)
        outer_of(out.frame)
        assert out.frame[OUTER_BYTES + 4 : OUTER_BYTES + SEGMENT_OPTION_BYTES] == header
        assert unwrapped(out.frame, segment=True) == packet
        assert out.vnet[:2] == b"\0\0"  # the fabric is asked for nothing

    @pytest.mark.parametrize(("make", "layer", "offset"), [
        (frame, TCP, 16), (frame, UDP, 6), (six, TCP, 16), (six, UDP, 6),
    ])  # fmt: skip
    def test_a_begun_checksum_is_completed_for_others(self, host, make, layer, offset):
        whole = make(layer(sport=1, dport=2) / Raw(b"odd length!"))
        start = 54 if make is six else 34
        (out,) = leaves(host, begun(whole, offset), vnet(start=start, offset=offset))
        outer_of(out.frame)
        assert unwrapped(out.frame) == whole

    def test_a_checksum_outside_the_frame_is_dropped(self, host):
        assert not leaves(host, frame(), vnet(start=1000))
        assert host.drops() == {"bad-segment": 1}

    @pytest.mark.parametrize("make", [frame, six])
    @pytest.mark.parametrize("ecn", range(4))
    def test_ecn_goes_out_with_the_outer_header(self, host, make, ecn):
        packet = make(UDP(), **({"tc": ecn | 0x40} if make is six else {"tos": ecn | 0x40}))
        (out,) = leaves(host, packet)
        assert outer_of(out.frame)[IP].tos == ecn

    @pytest.mark.parametrize("packet", [bytes(Ether() / ARP()), bytes(Ether(type=0x88CC)) + b"\xff" * 9])
    def test_what_is_not_ip_has_no_ecn(self, host, packet):
        (out,) = leaves(host, packet)
        assert outer_of(out.frame)[IP].tos == 0

    def test_the_source_port_is_the_flows(self, host):
        ports = {sport: {outer_of(leaves(host, frame(UDP(sport=sport)))[0].frame)[UDP].sport for _ in range(3)}
                 for sport in range(1000, 1008)}  # fmt: skip
        assert all(len(one) == 1 for one in ports.values())
        assert len(set.union(*ports.values())) > 4


def fresh(packet, layer):
    """The packet with every length and checksum recomputed by scapy."""
    made = Ether(packet)
    if IP in made:
        del made[IP].chksum, made[IP].len
    else:
        del made[IPv6].plen
    del made[layer].chksum
    if layer is UDP:
        del made[UDP].len
    return bytes(made)


class TestTransmit:
    @pytest.mark.parametrize(
        ("make", "layer", "gso"), [(frame, TCP, 1), (six, TCP, 4), (frame, UDP, 5), (six, UDP, 5)],
        ids=["tcp4", "tcp6", "udp4", "udp6"],
    )  # fmt: skip
    def test_a_segment_for_others_is_cut(self, host, make, layer, gso):
        payload = bytes(i * 7 & 0xFF for i in range(3_100))
        l4 = TCP(sport=1, dport=2, seq=2**32 - 1_500, flags="PAC") if layer is TCP else UDP(sport=1, dport=2)
        start = 54 if make is six else 34
        header = vnet(gso, 1_000, start=start, offset=16 if layer is TCP else 6)
        slot, n = encapsulated(host, make(l4 / Raw(payload)), header)
        assert host.egress.packets[slot, packets.OUT_LENGTH] == CUT
        transmit(host.egress, n)
        pieces = [unwrapped(out.frame) for out in host.sent(ports.UPLINK) if outer_of(out.frame)]
        assert [len(Ether(piece)[layer].payload) for piece in pieces] == [1_000, 1_000, 1_000, 100]
        assert b"".join(bytes(Ether(piece)[layer].payload) for piece in pieces) == payload
        for number, piece in enumerate(pieces):
            assert fresh(piece, layer) == piece, f"packet {number}: lengths and checksums"
            packet = Ether(piece)
            if layer is TCP:
                assert packet[TCP].seq == (2**32 - 1_500 + 1_000 * number) % 2**32
                assert (number == 3) == packet[TCP].flags.P
                assert (number == 0) == packet[TCP].flags.C
        assert host.egress.port_stats[ports.UPLINK, 2] == 4
        assert host.all_free(host.egress)

    def test_what_cannot_be_cut_is_dropped(self, host):
        assert not leaves(host, frame(TCP() / Raw(bytes(3_000))), vnet(1, 1_000, start=60))
        assert host.drops() == {"bad-segment": 1}

    @pytest.mark.parametrize(("port", "reason"), [(VM, "vport-down"), (ports.UPLINK, "uplink-down")])
    def test_a_port_that_takes_nothing(self, host, port, reason):
        entry = to_tunnel() if port == ports.UPLINK else Entry(entries.ACT_VPORT, port)
        for _ in range(rings.SIDE_SLOTS + 2):
            _, n = encapsulated(host, frame(), entry=entry)
            transmit(host.egress, n)
        assert host.drops() == {reason: 2}
        assert len(host.sent(port)) == rings.SIDE_SLOTS
        assert host.all_free(host.egress)

    def test_a_port_that_was_never_plugged_in(self, host):
        _, n = encapsulated(host, frame(), entry=Entry(entries.ACT_VPORT, 99))
        transmit(host.egress, n)
        assert host.drops() == {"vport-down": 1}

    def test_a_flow_keeps_to_one_queue(self, host):
        host.egress.ports[VM, ports.QUEUES] = 2  # VM and OTHER_VM are two queues of one NIC
        for number in range(16):
            packet = frame()[:33] + bytes([number]) + frame()[34:]
            for _ in range(2):
                _, n = encapsulated(host, packet, entry=Entry(entries.ACT_VPORT, VM))
                transmit(host.egress, n)
        queues = [[out.frame for out in host.sent(port)] for port in (VM, OTHER_VM)]
        assert all(queues)
        assert not set(queues[0]) & set(queues[1])
        assert sum(map(len, queues)) == 32


def geneve(inner, flags=0, options=b"", **ip):
    """A frame on the fabric from REMOTE."""
    head = struct.pack("!BBHI", len(options) // 4, flags, 0x6558, VNI << 8) + options
    return bytes(Ether() / IP(**{"src": str(REMOTE), "dst": str(LOCAL), **ip}) / UDP(dport=6081) / Raw(head + inner))


STRANGE = b"\xff\x00\x05\x00"


class TestDecapsulate:
    @pytest.mark.parametrize("options", [b"", STRANGE, STRANGE * 3])
    def test_the_inner_frame_is_found(self, host, options):
        m = host.ingress
        packet = geneve(frame(), options=options) + b"padding"
        assert decapsulate_packets(m, host.batch(m, slot := host.place(m, packet, ports.UPLINK))) == 1
        assert host.frame(m, slot, packets.FRAME) == frame()
        assert (m.packets[slot, packets.VNET], m.packets[slot, packets.TUNNEL]) == (0, tunnel_word())

    @pytest.mark.parametrize("packet", [bytes(Ether() / ARP()), geneve(frame(), flags=0x80)], ids=["arp", "oam"])
    def test_what_is_for_the_host_itself(self, host, packet):
        m = host.ingress
        assert decapsulate_packets(m, host.batch(m, host.place(m, packet, ports.UPLINK))) == 0
        (missed,) = host.missed(m)
        assert (missed.kind, missed.frame) == (rings.MISS_CONTROL, packet)

    def test_a_packet_back_from_its_stages_has_no_outer_headers_any_more(self, host):
        m = host.ingress
        n = host.batch(m, slot := host.place(m, frame(), ports.UPLINK, tunnel=77, staged=1))
        assert decapsulate_packets(m, n) == 1
        assert (host.frame(m, slot, packets.FRAME), int(m.packets[slot, packets.TUNNEL])) == (frame(), 77)

    @pytest.mark.parametrize(
        ("packet", "header"), [(frame(TCP() / Raw(bytes(9_000))), vnet(1, 1_400)), (frame(), NO_VNET)]
    )
    def test_undoes_what_the_other_host_did(self, host, packet, header):
        host.egress.peers[PEER] = 1
        (out,) = leaves(host, packet, header)
        host.egress.host[host_words.IP] = int(REMOTE)
        try:
            m = host.ingress
            decapsulate_packets(m, host.batch(m, slot := host.place(m, out.frame, ports.UPLINK)))
        finally:
            host.egress.host[host_words.IP] = int(LOCAL)
        start = int(m.packets[slot, packets.FRAME])
        assert host.frame(m, slot, packets.FRAME, packets.LENGTH) == packet
        assert m.packets[slot, packets.VNET] == (header != NO_VNET)
        if header != NO_VNET:
            assert m.pool[start - 12 : start].tobytes() == header
        assert m.packets[slot, packets.OUT_START] >= 0
