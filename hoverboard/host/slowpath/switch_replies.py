"""Packets that the virtual switch itself answers: ARP and neighbour discovery for the gateway, ping to it.

The OpenFlow tables decide the headers of the answer; this module writes them into the packet. Pure.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from hoverboard.contract.packets import internet_checksum, mac_bytes

_ICMPV6, _ADVERTISEMENT = 58, 136
_IPV6_BYTES, _DISCOVERY_BYTES = 40, 24
_SOURCE_ADDRESS_OPTION, _ADDRESS_OPTION_BYTES = 1, 8  # RFC 4861, 4.6.1


def rewrite(frame: bytes, headers: dict[str, str]) -> bytes | None:
    """`frame` with the header values of `headers` (vswitchd's names); None for a kind of packet it cannot write.

    Handles ARP, and unfragmented ICMP over IPv4 and IPv6; writes correct lengths and checksums.
    """
    ethernet = mac_bytes(headers["dl_dst"]) + mac_bytes(headers["dl_src"])
    if frame[12:14] == b"\x08\x06" and len(frame) >= 42:
        body = struct.pack(
            "!H6s4s6s4s",
            int(headers["arp_op"]),
            mac_bytes(headers["arp_sha"]),
            IPv4Address(headers["arp_spa"]).packed,
            mac_bytes(headers["arp_tha"]),
            IPv4Address(headers["arp_tpa"]).packed,
        )
        return ethernet + frame[12:20] + body
    if frame[12:14] == b"\x86\xdd":
        return _rewrite6(frame, ethernet, headers)
    if frame[12:14] != b"\x08\x00" or frame[23] != 1 or "icmp_type" not in headers:
        return None
    size = (frame[14] & 0xF) * 4
    total = struct.unpack("!H", frame[16:18])[0]
    ip = bytearray(frame[14 : 14 + size])
    icmp = bytearray(frame[14 + size : 14 + total])
    ip[12:16] = IPv4Address(headers["nw_src"]).packed
    ip[16:20] = IPv4Address(headers["nw_dst"]).packed
    ip[10:12] = b"\0\0"
    ip[10:12] = struct.pack("!H", internet_checksum(bytes(ip)))
    icmp[0] = int(headers["icmp_type"])
    icmp[2:4] = b"\0\0"
    icmp[2:4] = struct.pack("!H", internet_checksum(bytes(icmp)))
    return ethernet + frame[12:14] + bytes(ip) + bytes(icmp)


def _rewrite6(frame: bytes, ethernet: bytes, headers: dict[str, str]) -> bytes | None:
    if frame[20:21] != bytes([_ICMPV6]) or "icmp_type" not in headers:
        return None
    length = struct.unpack("!H", frame[18:20])[0]
    icmp = bytearray(frame[14 + _IPV6_BYTES : 14 + _IPV6_BYTES + length])
    if len(icmp) < length or length < 8:
        return None
    ends = IPv6Address(headers["ipv6_src"]).packed + IPv6Address(headers["ipv6_dst"]).packed
    icmp[0] = int(headers["icmp_type"])
    if icmp[0] == _ADVERTISEMENT and not _advertise(icmp, headers):
        return None
    icmp[2:4] = b"\0\0"
    pseudo = ends + struct.pack("!II", length, _ICMPV6)  # RFC 8200, 8.1
    icmp[2:4] = struct.pack("!H", internet_checksum(pseudo + bytes(icmp)))
    return ethernet + frame[12:22] + ends + bytes(icmp)


def _advertise(icmp: bytearray, headers: dict[str, str]) -> bool:
    """Turn a neighbour solicitation into the advertisement of `headers`; False if it is too short or malformed."""
    if len(icmp) < _DISCOVERY_BYTES:
        return False
    icmp[4:8] = int(headers.get("nd_reserved", "0")).to_bytes(4, "big")
    icmp[8:24] = IPv6Address(headers["nd_target"]).packed
    at = _DISCOVERY_BYTES
    while at + _ADDRESS_OPTION_BYTES <= len(icmp):
        kind, size = icmp[at], icmp[at + 1] * 8
        if kind == _SOURCE_ADDRESS_OPTION and size == _ADDRESS_OPTION_BYTES:
            icmp[at] = int(headers.get("nd_options_type", str(kind)))
            icmp[at + 2 : at + 8] = mac_bytes(headers["nd_tll"])
        if not size:
            return False
        at += size
    return True
