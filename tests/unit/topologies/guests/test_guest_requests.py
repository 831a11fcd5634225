"""The requests for a VM's addresses, held against pyroute2's decoder, which another project keeps."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from topologies.guests.guest_requests import GuestRequests

MAC, INDEX = "06:07:0a:00:00:02", 2


def decoded(data: bytes) -> list[Any]:
    """The requests in some bytes, as pyroute2 reads them."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    found = []
    while data:
        length, kind = struct.unpack_from("=IH", data)
        message = {20: ifaddrmsg, 24: rtmsg}[kind](data[:length])
        message.decode()
        found.append(message)
        data = data[length:]
    return found


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(1, (1 << 31) - 1))
def test_a_vm_has_one_neighbour_and_a_default_route(
    ip: IPv4Address, gateway: IPv4Address, ip6: IPv6Address, index: int
) -> None:
    ipv4, ipv6 = GuestRequests.of(index, MAC, ip, gateway, ip6)
    address, neighbour, default = decoded(ipv4)
    assert (address.get("local"), address["prefixlen"], address["index"]) == (str(ip), 32, index)
    assert (neighbour.get("dst"), neighbour["dst_len"], neighbour["scope"]) == (str(gateway), 32, 253)
    assert (default.get("gateway"), default["dst_len"], default["scope"]) == (str(gateway), 0, 0)
    assert {neighbour.get("oif"), default.get("oif")} == {index}
    local, own, way = decoded(ipv6)
    assert (local.get("address"), local["prefixlen"]) == ("fe80::407:aff:fe00:2", 64)
    assert (IPv6Address(own.get("address")), own["prefixlen"]) == (ip6, 128)
    assert {local.get("flags"), own.get("flags")} == {2}
    assert (way.get("gateway"), way["dst_len"], way.get("oif")) == ("fe80::1", 0, index)
    assert {message["header"]["flags"] for message in decoded(ipv4 + ipv6)} == {0x605}


def test_a_vm_without_ipv6_asks_for_none() -> None:
    assert GuestRequests.of(INDEX, MAC, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.1"), None).ipv6 == b""
