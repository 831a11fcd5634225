"""What vswitchd is asked about a packet, in the words of ofproto/trace."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)

from hoverboard.fastpath.memory import packets
from hoverboard.fastpath.packets.parse import parse
from hoverboard.host.slowpath.trace_request import addresses, question_for
from hoverboard.testing.memory_host import key_of, tunnel_word
from tests.unit.hoverboard.packets import ARP, ICMP, IP, TCP, UDP, Ether, Raw, array, empty_key, empty_packet, frame

LOCAL = IPv4Address("172.16.0.1")
MAC, TO = "06:07:0a:00:00:02", "02:00:5e:00:00:01"
BEGIN = f"in_port=100,dl_src={MAC},dl_dst={TO},"
FOUR = BEGIN + "ip,nw_proto={},nw_src=10.0.0.2,nw_dst=10.0.0.3,nw_ecn=0,nw_ttl=64"
SIX = BEGIN + "ipv6,nw_proto={},ipv6_src=fd00::2,ipv6_dst=fd00::3,nw_ecn=0,nw_ttl={}"


def six(*layers, hops=64, **more):
    packet = Ether(src=MAC, dst=TO) / IPv6(src="fd00::2", dst="fd00::3", hlim=hops, **more)
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def asked(data, tunnel=0, inner=None):
    """The question about a frame; `inner`: its headers, if they are not all there."""
    key, packet = empty_key(), empty_packet()
    parse(array(data), 0, len(data), 100, tunnel, key, packet)
    words = tuple(int(word) for word in key)
    return question_for(words, int(packet[packets.PORTS]), data if inner is None else inner, LOCAL)


SOLICITATION = six(ICMPv6ND_NS(tgt="fd00::9") / ICMPv6NDOptSrcLLAddr(lladdr=MAC), hops=255)
ADVERTISEMENT = six(ICMPv6ND_NA(tgt="fd00::9") / ICMPv6NDOptDstLLAddr(lladdr=MAC), hops=255)
DISCOVERY = SIX.format(58, 255) + ",icmpv6_type={},icmpv6_code=0"


@pytest.mark.parametrize(
    ("data", "question"),
    [
        (frame(TCP(sport=0xFFFE, dport=80)), FOUR.format(6) + ",tcp_src=65534,tcp_dst=80"),
        (frame(UDP(sport=53, dport=0x8001)), FOUR.format(17) + ",udp_src=53,udp_dst=32769"),
        (frame(ICMP(type=3, code=4)), FOUR.format(1) + ",icmp_type=3,icmp_code=4"),
        (frame(Raw(b"x" * 8), proto=47), FOUR.format(47)),
        (frame(UDP(), flags="MF"), FOUR.format(17) + ",nw_frag=first"),
        (frame(Raw(b"x" * 8), proto=17, frag=3), FOUR.format(17) + ",nw_frag=later"),
        (frame(Raw(b"x" * 8), proto=47, tos=3, ttl=7), FOUR.format(47).replace("ecn=0,nw_ttl=64", "ecn=3,nw_ttl=7")),
        (six(TCP(sport=1, dport=2), hops=9), SIX.format(6, 9) + ",tcp_src=1,tcp_dst=2"),
        (six(ICMPv6EchoRequest()), SIX.format(58, 64) + ",icmpv6_type=128,icmpv6_code=0"),
        (six(ICMPv6EchoRequest(data=b"x" * 56)), SIX.format(58, 64) + ",icmpv6_type=128,icmpv6_code=0"),
        (six(Raw(b"x" * 8), tc=1, nh=99), SIX.format(99, 64).replace("ecn=0", "ecn=1")),
        (six(IPv6ExtHdrFragment(m=1), UDP()), SIX.format(17, 64) + ",nw_frag=first"),
        (six(IPv6ExtHdrFragment(offset=4, nh=17), Raw(b"x" * 8)), SIX.format(17, 64) + ",nw_frag=later"),
        (SOLICITATION, DISCOVERY.format(135) + f",nd_target=fd00::9,nd_sll={MAC}"),
        (ADVERTISEMENT, DISCOVERY.format(136) + f",nd_target=fd00::9,nd_tll={MAC}"),
        (six(ICMPv6ND_NS(tgt="fd00::9"), hops=255), DISCOVERY.format(135) + ",nd_target=fd00::9"),
        (
            six(ICMPv6ND_NS(tgt="fd00::9") / ICMPv6NDOptDstLLAddr(lladdr=MAC), hops=255),
            DISCOVERY.format(135) + ",nd_target=fd00::9",
        ),
        (six(IPv6ExtHdrHopByHop(), ICMPv6ND_NS(tgt="fd00::9"), hops=255), DISCOVERY.format(135)),
        (bytes(Ether(src=MAC, dst=TO, type=0x88CC)) + bytes(60), BEGIN + "dl_type=0x88cc"),
        (bytes(Ether(src=MAC, dst=TO, type=0x0600)) + bytes(60), BEGIN + "dl_type=0x0600"),
        (bytes(Ether(src=MAC, dst=TO, type=0x05FF)) + bytes(60), BEGIN + "dl_type=0x05ff"),
        (bytes(Ether(src=MAC, dst=TO, type=46)) + bytes(60), BEGIN + "dl_type=0x05ff"),
        (bytes(Ether(src=MAC, dst=TO, type=0x0806)) + bytes(27), BEGIN + "dl_type=0x0806"),
    ],
    ids=[
        "tcp", "udp", "icmp", "gre", "first fragment", "later fragment", "ecn and ttl", "tcp6", "ping6", "long ping6",
        "ecn6",
        "first fragment6", "later fragment6", "solicitation", "advertisement", "no option", "another option",
        "extension header", "lldp", "least type", "most length", "length", "short arp",
    ],
)  # fmt: skip
def test_the_question_about_a_packet(data, question):
    assert asked(data) == question


def test_arp_is_asked_about_by_its_content():
    arp = ARP(op=2, hwsrc="06:07:0a:00:00:0b", psrc="10.0.0.2", hwdst="06:07:0a:00:00:0c", pdst="10.0.0.9")
    data = bytes(Ether(src=MAC, dst=TO) / arp)
    assert len(data) == 42
    words = "arp,arp_op=2,arp_sha=06:07:0a:00:00:0b,arp_tha=06:07:0a:00:00:0c,arp_spa=10.0.0.2,arp_tpa=10.0.0.9"
    assert asked(data) == asked(data + bytes(18)) == BEGIN + words


def test_what_a_tunnel_brings_says_so():
    word = tunnel_word(IPv4Address("192.168.255.254"), 0xFFFFFE)
    tunnel = "in_port=100,tun_id=0xfffffe,tun_src=192.168.255.254,tun_dst=172.16.0.1,dl_src="
    assert asked(frame(TCP(sport=1, dport=2)), word).startswith(tunnel)


@pytest.mark.parametrize("size", [77, 78, 85])
def test_discovery_that_was_cut_is_asked_about_by_what_is_there(size):
    """The engine hands over what it has; the key is of the whole packet."""
    target = ",nd_target=fd00::9" if size >= 78 else ""
    assert asked(SOLICITATION, inner=SOLICITATION[:size]) == DISCOVERY.format(135) + target


def test_an_option_of_another_length_is_no_address():
    wrong = SOLICITATION[:79] + b"\x02" + SOLICITATION[80:]
    assert asked(SOLICITATION, inner=wrong) == DISCOVERY.format(135) + ",nd_target=fd00::9"


def test_the_addresses_in_a_key():
    assert addresses(key_of(frame(), 100)) == (IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"))
    high = bytes(Ether(src=MAC, dst=TO) / IP(src="200.0.0.2", dst="240.0.0.3") / UDP())
    assert addresses(key_of(high, 100)) == (IPv4Address("200.0.0.2"), IPv4Address("240.0.0.3"))
    ends = ("fd00::8000:0:0:2", "ff00:8000::3")
    data = bytes(Ether(src=MAC, dst=TO) / IPv6(src=ends[0], dst=ends[1]) / UDP())
    assert addresses(key_of(data, 100)) == (IPv6Address(ends[0]), IPv6Address(ends[1]))
    assert addresses(key_of(bytes(Ether(src=MAC, dst=TO, type=0x0806)) + bytes(28), 100)) is None


def test_entries_of_one_pair_share_its_addresses():
    one, other = (key_of(frame(UDP(sport=port)), 100) for port in (1024, 1025))
    assert all(first is second for first, second in zip(addresses(one), addresses(other), strict=True))
