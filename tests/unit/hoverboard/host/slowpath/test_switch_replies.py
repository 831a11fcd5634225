"""Packets that the switch itself answers, byte by byte: what is kept, what is written, and what cannot be."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, IPv6

from hoverboard.contract.packets import internet_checksum, mac_bytes
from hoverboard.host.slowpath.switch_replies import rewrite
from tests.unit.hoverboard.packets import ARP, ICMP, IP, UDP, Ether, Raw

VM, GATEWAY = "06:07:0a:00:00:02", "02:00:5e:00:00:01"
MACS = {"dl_src": GATEWAY, "dl_dst": VM}
PONG = {**MACS, "nw_src": "10.0.0.1", "nw_dst": "10.0.0.2", "icmp_type": "0"}
PONG6 = {**MACS, "ipv6_src": "fd00::1", "ipv6_dst": "fd00::2", "icmp_type": "129"}
RESOLVED = {
    **MACS, "arp_op": "2", "arp_spa": "10.0.0.1", "arp_tpa": "10.0.0.2", "arp_sha": GATEWAY, "arp_tha": VM,
}  # fmt: skip
ADVERTISED = {
    **MACS, "ipv6_src": "fe80::1", "ipv6_dst": "fd00::2", "icmp_type": "136", "nd_target": "fe80::1",
    "nd_tll": GATEWAY, "nd_reserved": str(0xE0000000), "nd_options_type": "2",
}  # fmt: skip
ASK = Ether(src=VM, dst=GATEWAY)
BACK = Ether(src=GATEWAY, dst=VM)


def ping(*layers: object, **ip: object) -> bytes:
    packet = ASK / IP(src="10.0.0.2", dst="10.0.0.1", **ip) / ICMP(id=7, seq=3)
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


@pytest.mark.parametrize("body", [b"", b"odd", b"even", b"\xff" * 60_000])
@pytest.mark.parametrize("options", [b"", b"\x01" * 8])
def test_a_ping_is_answered_with_its_own_body(body: bytes, options: bytes) -> None:
    wanted = BACK / IP(src="10.0.0.1", dst="10.0.0.2", options=options) / ICMP(type=0, id=7, seq=3) / Raw(body)
    assert rewrite(ping(Raw(body), options=options), PONG) == bytes(wanted)


def test_padding_behind_a_ping_is_left_out() -> None:
    assert rewrite(ping() + bytes(18), PONG) == rewrite(ping(), PONG)


def test_the_code_of_a_ping_is_kept() -> None:
    asked = bytearray(ping())
    asked[35] = 9
    answer = rewrite(bytes(asked), PONG)
    assert answer is not None
    assert answer[35] == 9
    assert internet_checksum(answer[34:]) == 0


@pytest.mark.parametrize(
    ("frame", "headers"),
    [
        (bytes(ASK / IP() / UDP()), PONG),
        (ping(), MACS),
        (bytes(ASK / IPv6() / UDP()), PONG6),
        (bytes(ASK / IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoRequest()), MACS),
        (bytes(Ether(src=VM, dst=GATEWAY, type=0x88CC)) + b"\x01" * 60, PONG),
        (bytes(Ether(src=VM, dst=GATEWAY, type=0x0806)) + bytes(27), RESOLVED),
    ],
    ids=["udp", "no type", "udp over ipv6", "no type over ipv6", "neither", "short arp"],
)
def test_what_cannot_be_written_is_not(frame: bytes, headers: dict[str, str]) -> None:
    assert rewrite(frame, headers) is None


@pytest.mark.parametrize("padding", [0, 18])
def test_arp_is_answered_from_the_headers_alone(padding: int) -> None:
    asked = bytes(ASK / ARP(op=1, hwsrc=VM, psrc="10.0.0.2", pdst="10.0.0.1"))
    wanted = BACK / ARP(op=2, hwsrc=GATEWAY, psrc="10.0.0.1", hwdst=VM, pdst="10.0.0.2")
    assert rewrite(asked + bytes(padding), RESOLVED) == bytes(wanted)


@pytest.mark.parametrize("body", [b"", b"odd", b"even"])
def test_a_ping_over_ipv6_is_answered_with_its_own_body(body: bytes) -> None:
    asked = ASK / IPv6(src="fd00::2", dst="fd00::1", hlim=9, tc=3, fl=5) / ICMPv6EchoRequest(id=7, seq=3, data=body)
    wanted = BACK / IPv6(src="fd00::1", dst="fd00::2", hlim=9, tc=3, fl=5) / ICMPv6EchoReply(id=7, seq=3, data=body)
    assert rewrite(bytes(asked), PONG6) == bytes(wanted)
    assert rewrite(bytes(asked) + bytes(10), PONG6) == bytes(wanted)
    assert rewrite(bytes(asked)[:-1], PONG6) is None


@pytest.mark.parametrize("size", range(14, 62))
def test_a_ping_over_ipv6_that_was_cut_is_not_answered(size: int) -> None:
    asked = bytes(ASK / IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoRequest())
    assert len(asked) == 62
    assert rewrite(asked[:size], PONG6) is None


def test_what_is_too_short_for_a_solicitation_becomes_no_advertisement() -> None:
    asked = bytes(ASK / IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoRequest(data=b"x" * 15))
    assert rewrite(asked, ADVERTISED) is None
    assert rewrite(solicitation(b""), ADVERTISED) is not None


def test_icmp_shorter_than_its_header_is_not_answered() -> None:
    asked = bytearray(bytes(ASK / IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoRequest()))
    assert rewrite(bytes(asked), PONG6) is not None
    asked[18:20] = (7).to_bytes(2, "big")
    assert rewrite(bytes(asked), PONG6) is None


SOURCE = b"\x01\x01" + mac_bytes(VM)
TARGET = b"\x02\x01" + mac_bytes(GATEWAY)


def solicitation(options: bytes) -> bytes:
    return bytes(ASK / IPv6(src="fd00::2", dst="fe80::1", hlim=255) / ICMPv6ND_NS(tgt="fd00::9") / Raw(options))


def advertisement(options: bytes, reserved: int = 0xE0000000) -> bytes:
    flags = {"R": reserved >> 31, "S": reserved >> 30 & 1, "O": reserved >> 29 & 1}
    return bytes(
        BACK / IPv6(src="fe80::1", dst="fd00::2", hlim=255) / ICMPv6ND_NA(tgt="fe80::1", **flags) / Raw(options)
    )


NONCE = b"\x0e\x02" + bytes(14)
MTU = b"\x05\x01" + bytes(6)
LONG_SOURCE = b"\x01\x02" + bytes(14)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"", b""),
        (SOURCE, TARGET),
        (NONCE + SOURCE, NONCE + TARGET),
        (SOURCE + NONCE, TARGET + NONCE),
        (LONG_SOURCE, LONG_SOURCE),
        (MTU + SOURCE, MTU + TARGET),
    ],
    ids=["none", "its address", "behind another", "before another", "of another length", "of another kind"],
)
def test_a_solicitation_becomes_an_advertisement_whatever_its_options(asked: bytes, answered: bytes) -> None:
    assert rewrite(solicitation(asked), ADVERTISED) == advertisement(answered)


def test_an_option_without_a_length_is_no_endless_loop() -> None:
    assert rewrite(solicitation(b"\x0e\x00" + bytes(14)), ADVERTISED) is None


def test_without_flags_and_option_type_in_the_answer_they_stay_as_they_are() -> None:
    less = {name: value for name, value in ADVERTISED.items() if name not in ("nd_reserved", "nd_options_type")}
    assert rewrite(solicitation(SOURCE), less) == advertisement(b"\x01" + TARGET[1:], 0)
