"""MACs, ranges of addresses and the Internet checksum: by examples of the RFC, and by their definitions."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.packets import (
    checksum_of_sum,
    internet_checksum,
    mac_bytes,
    mac_number,
    mac_text,
    unroutable,
    unusable,
)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0xFFFF),
        (bytes(20), 0xFFFF),
        (b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0x220D),  # RFC 1071, section 3
        (bytes.fromhex("45000073000040004011 0000 c0a80001c0a800c7"), 0xB861),
        (b"\xff", 0x00FF),
        (b"\x00\xff", 0xFF00),
        (b"\xff\xff" * 3, 0),
        (b"\xff\xff\x00\x01", 0xFFFE),
    ],
)
def test_checksums_are_those_of_rfc_1071(data: bytes, checksum: int) -> None:
    assert internet_checksum(data) == internet_checksum(memoryview(data)) == checksum


@given(st.binary(max_size=70))
def test_the_checksum_is_the_complement_of_the_folded_sum(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(padded[at] << 8 | padded[at + 1] for at in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert internet_checksum(data) == 0xFFFF - total


@given(st.lists(st.integers(0, 0xFFFF), max_size=40))
def test_the_checksum_of_words_follows_from_their_sum(words: list[int]) -> None:
    assert checksum_of_sum(sum(words)) == internet_checksum(b"".join(word.to_bytes(2, "big") for word in words))


@given(st.binary(min_size=1, max_size=70))
def test_data_with_their_checksum_sum_to_zero(data: bytes) -> None:
    even = data + b"\0" * (len(data) % 2)
    assert internet_checksum(even + internet_checksum(even).to_bytes(2, "big")) == 0


def test_a_mac_is_six_bytes_or_a_number() -> None:
    assert mac_bytes("02:00:5e:00:00:01") == b"\x02\x00\x5e\x00\x00\x01"
    assert mac_number("02:00:5e:00:00:01") == 0x02005E000001
    assert mac_text(0x5E000001) == "00:00:5e:00:00:01"


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_comes_back_from_its_text(raw: bytes) -> None:
    text = mac_text(raw)
    assert mac_bytes(text) == mac_bytes(text.upper()) == raw
    assert mac_text(mac_number(text)) == text


@pytest.mark.parametrize("text", ["", "02:00:5e:00:00", "02:00:5e:00:00:01:02", "02:00:5e:00:00:0g"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"MAC|hexadecimal"):
        mac_bytes(text)


RANGES = [
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/64", "fe80::/10", "ff00::/8",
]  # fmt: skip
USABLE = [
    "1.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "126.0.0.0/8", "128.0.0.0/16", "169.253.0.0/16", "169.255.0.0/16",
    "172.16.0.0/12", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "203.0.113.0/24", "223.255.255.0/24",
    "0:0:0:1::/64", "64:ff9b::/96", "2001:db8::/32", "fd00::/8", "fe00::/9", "fec0::/10", "2000::/3",
]  # fmt: skip


@pytest.mark.parametrize("reserved", RANGES)
def test_reserved_ranges_and_all_of_their_addresses(reserved: str) -> None:
    network = ip_network(reserved)
    for found in (network, network.network_address, network.broadcast_address, next(network.subnets(1))):
        assert (unusable(found) or "").startswith(f"{found} reaches into {reserved} ("), found
    larger = network.supernet()
    assert "which is not for VMs" in (unusable(larger) or "")
    assert unroutable(network) == f"{reserved} has no address that a packet can be routed to"
    assert unroutable(next(network.subnets(2))) is not None


@pytest.mark.parametrize("usable", USABLE)
def test_other_ranges_are_for_vms_up_to_their_edges(usable: str) -> None:
    network = ip_network(usable)
    for found in (network, network.network_address, network.broadcast_address):
        assert unusable(found) is None
    assert unroutable(network) is None


@pytest.mark.parametrize(("prefix", "fits"), [("0.0.0.0/0", True), ("128.0.0.0/1", True), ("192.0.0.0/2", True),
                                              ("224.0.0.0/3", False), ("126.0.0.0/7", True), ("::/0", True),
                                              ("fe00::/7", True)])  # fmt: skip
def test_a_route_may_lead_to_a_prefix_that_has_usable_addresses(prefix: str, fits: bool) -> None:
    assert (unroutable(ip_network(prefix)) is None) is fits
    assert unusable(ip_network(prefix)) is not None


def test_the_broadcast_address_and_the_range_of_the_report() -> None:
    assert unusable(ip_address("255.255.255.255")) is not None
    assert unusable(ip_network("255.255.255.0/24")) == (
        "255.255.255.0/24 reaches into 240.0.0.0/4 (reserved, and the broadcast address), which is not for VMs"
    )
