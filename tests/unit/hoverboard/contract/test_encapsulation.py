"""Addresses that follow from others: of NICs, switches and VMs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from hoverboard.contract.encapsulation import datapath_id, guest_mac, link_local, underlay_mac


@pytest.mark.parametrize("address", ["172.16.255.10", IPv4Address("172.16.255.10")])
def test_a_nic_and_a_switch_are_named_by_their_underlay_address(address: str | IPv4Address) -> None:
    assert underlay_mac(address) == "02:fa:ac:10:ff:0a"
    assert datapath_id(address) == 0xAC10FF0A


def test_a_vms_mac_has_the_low_byte_of_its_vni() -> None:
    assert guest_mac(0x1234, "10.0.0.2") == "06:34:0a:00:00:02"
    assert guest_mac(0xFF, IPv4Address("10.0.0.2")) == "06:ff:0a:00:00:02"
    assert guest_mac(0x109, "192.168.1.254") == "06:09:c0:a8:01:fe"


def test_a_link_local_address_is_made_of_the_mac() -> None:
    """RFC 4291, appendix A: the second lowest bit of the first byte is inverted, fffe stands in the middle."""
    assert link_local("34:56:78:9a:bc:de") == IPv6Address("fe80::3656:78ff:fe9a:bcde")
    assert link_local("06:07:0a:00:00:02") == IPv6Address("fe80::407:aff:fe00:2")
