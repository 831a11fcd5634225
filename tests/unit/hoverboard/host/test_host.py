"""The host process's pure parts: answers, probes, ARP, which entries a change concerns."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hoverboard.contract.encapsulation import PROBE_REPLY_TYPE, PROBE_REQUEST_TYPE
from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.fastpath.memory import packets
from hoverboard.fastpath.packets.parse import parse
from hoverboard.host.slowpath.known_entries import KnownEntry, concerns, touched
from hoverboard.host.slowpath.switch_replies import rewrite
from hoverboard.host.slowpath.trace_request import question_for
from hoverboard.host.underlay.datagrams import read_datagram
from hoverboard.host.underlay.peers import announcement, arp_reply, probe, read_probe
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.trace import TraceResult
from tests.unit.hoverboard.packets import ARP, ICMP, IP, UDP, Ether, Raw, array, empty_key, empty_packet, frame

LOCAL, REMOTE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")


def test_gateway_ping_is_answered_with_right_checksums():
    headers = {
        "dl_src": "02:00:5e:00:00:01", "dl_dst": "06:07:0a:00:00:02",
        "nw_src": "10.0.0.1", "nw_dst": "10.0.0.2", "icmp_type": "0",
    }  # fmt: skip
    answer = rewrite(frame(ICMP(type=8, id=7, seq=3) / Raw(b"odd")), headers)
    packet = Ether(answer)
    assert (packet[IP].src, packet[IP].dst, packet[ICMP].type, packet[ICMP].seq) == ("10.0.0.1", "10.0.0.2", 0, 3)
    fresh = packet.copy()
    del fresh[IP].chksum, fresh[ICMP].chksum
    assert bytes(fresh) == answer


def test_gateway_arp_is_answered():
    request = bytes(Ether(src="06:07:0a:00:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.0.0.2", pdst="10.0.0.1"))
    headers = {
        "dl_src": "02:00:5e:00:00:01", "dl_dst": "06:07:0a:00:00:02", "arp_op": "2", "arp_spa": "10.0.0.1",
        "arp_tpa": "10.0.0.2", "arp_sha": "02:00:5e:00:00:01", "arp_tha": "06:07:0a:00:00:02",
    }  # fmt: skip
    packet = Ether(rewrite(request, headers))
    assert (packet[ARP].op, packet[ARP].psrc, packet[ARP].hwsrc, packet.dst) == (
        2, "10.0.0.1", "02:00:5e:00:00:01", "06:07:0a:00:00:02",
    )  # fmt: skip


def test_what_cannot_be_rewritten():
    assert rewrite(frame(UDP()), {"dl_dst": "02:00:00:00:00:01", "dl_src": "02:00:00:00:00:02"}) is None


@pytest.mark.parametrize("kind", [PROBE_REQUEST_TYPE, PROBE_REPLY_TYPE])
def test_probe_is_read_back(kind):
    data = probe(LOCAL, REMOTE, kind)
    assert read_probe(data) == (LOCAL, kind)
    packet = Ether(data)
    checksum = packet[IP].chksum
    del packet[IP].chksum
    assert Ether(bytes(packet))[IP].chksum == checksum


@given(st.binary(max_size=80))
@example(probe(REMOTE, LOCAL, PROBE_REQUEST_TYPE))
@example(probe(REMOTE, LOCAL, PROBE_REQUEST_TYPE)[:53])
@example(announcement(REMOTE))
def test_any_bytes_are_read_as_one_thing_at_most(data):
    found = (read_probe(data), arp_reply(data, LOCAL), read_datagram(data))
    assert sum(one is not None for one in found) <= 1
    assert found[0] is None or (len(data) >= 54 and found[0][0] == IPv4Address(data[26:30]))
    assert found[1] is None or (len(data) >= 42 and data[38:42] == LOCAL.packed)
    assert found[2] is None or (len(data) >= 42 and found[2][1] in data)


def test_arp_for_our_address_only():
    ask = Ether(src="02:fa:ac:10:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc="02:fa:ac:10:00:02", psrc=str(REMOTE))
    ask[ARP].pdst = str(LOCAL)
    answer = Ether(arp_reply(bytes(ask), LOCAL))
    assert (answer.dst, answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc, answer[ARP].pdst) == (
        "02:fa:ac:10:00:02", 2, "02:fa:ac:10:00:01", str(LOCAL), str(REMOTE),
    )  # fmt: skip
    assert arp_reply(bytes(ask), IPv4Address("172.16.0.3")) is None
    assert arp_reply(announcement(REMOTE), LOCAL) is None


def verdict(vni=7):
    return TraceResult(
        Kind.ROUTE, vni, 1, REMOTE, vni, {}, frozenset(), False, True, metadata=frozenset({0, vni}) if vni else None
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change(), True),
        (Change(in_port=100), True),
        (Change(in_port=101), False),
        (Change(vni=7), True),
        (Change(vni=8), False),
        (Change(dst=IPv4Network("10.0.0.3")), True),
        (Change(dst=IPv4Network("10.0.0.4")), False),
        (Change(vni=7, src=IPv4Network("10.0.0.0/30"), dst=IPv4Network("10.0.0.3")), True),
        (Change(vni=7, src=IPv4Network("10.0.1.0/24"), dst=IPv4Network("10.0.0.3")), False),
    ],
)
def test_which_entries_a_change_concerns(change, expected):
    cached = KnownEntry("", verdict(), 100, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 6)
    assert concerns(change, cached) is expected


def test_an_entry_whose_way_is_not_known_is_concerned_by_every_change():
    cached = KnownEntry("", verdict(vni=0), 1, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 6)
    for change in (Change(vni=8), Change(in_port=7), Change(tun_id=9), Change(dst=IPv4Network("10.9.9.9"))):
        assert concerns(change, cached)


_ADDRESSES = st.integers(0, 3).map(lambda last: IPv4Address(f"10.0.0.{last}"))
_PREFIXES = st.none() | st.builds(lambda ip, bits: IPv4Network((int(ip), bits), strict=False), _ADDRESSES,
                                  st.sampled_from([31, 32]))  # fmt: skip


@settings(max_examples=40)
@given(
    st.lists(st.builds(Change, st.none() | st.just(100), st.none() | st.integers(7, 8), _PREFIXES, _PREFIXES)),
    st.lists(st.tuples(st.sampled_from([0, 7, 8]), st.sampled_from([1, 100]), st.none() | _ADDRESSES)),
)
@example([Change(vni=7, dst=IPv4Network("10.0.0.3"))], [(vni, 100, IPv4Address("10.0.0.3")) for vni in (0, 7, 8)])
def test_many_changes_concern_what_each_of_them_does(changes, entries):
    cached = {
        number: KnownEntry("", verdict(vni=vni), port, dst, dst, 6) for number, (vni, port, dst) in enumerate(entries)
    }
    wanted = [key for key, entry in cached.items() if any(concerns(change, entry) for change in changes)]
    assert touched(changes, cached) == wanted


@pytest.mark.parametrize(
    ("data", "tunnel", "expected"),
    [
        (
            frame(tos=1), 0,
            "in_port=100,dl_src=06:07:0a:00:00:02,dl_dst=02:00:5e:00:00:01,ip,nw_proto=17,nw_src=10.0.0.2,"
            "nw_dst=10.0.0.3,nw_ecn=1,nw_ttl=64,udp_src=1000,udp_dst=2000",
        ),
        (
            frame(ICMP(type=8)), int(REMOTE) << 32 | 7,
            "in_port=100,tun_id=0x7,tun_src=172.16.0.2,tun_dst=172.16.0.1,dl_src=06:07:0a:00:00:02,"
            "dl_dst=02:00:5e:00:00:01,ip,nw_proto=1,nw_src=10.0.0.2,nw_dst=10.0.0.3,nw_ecn=0,nw_ttl=64,"
            "icmp_type=8,icmp_code=0",
        ),
        (
            frame(Raw(b"z" * 16), proto=17, frag=3), 0,
            "in_port=100,dl_src=06:07:0a:00:00:02,dl_dst=02:00:5e:00:00:01,ip,nw_proto=17,nw_src=10.0.0.2,"
            "nw_dst=10.0.0.3,nw_ecn=0,nw_ttl=64,nw_frag=later",
        ),
    ],
)  # fmt: skip
def test_the_question_put_to_the_switch(data, tunnel, expected):
    key = empty_key()
    signed = tunnel - (1 << 64) if tunnel >> 63 else tunnel
    packet = empty_packet()
    parse(array(data), 0, len(data), 100, signed, key, packet)
    words = tuple(int(word) for word in key)
    assert question_for(words, int(packet[packets.PORTS]), data, LOCAL) == expected
