"""Packets that the virtual switch itself answers: ARP for the gateway, ping to the gateway.

The OpenFlow tables say what the answer's headers are; this writes them into the packet. Pure.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address


def internet_checksum(data: bytes) -> int:
    """RFC 1071 checksum of `data`."""
    padded = data + b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def rewrite(frame: bytes, headers: dict[str, str]) -> bytes | None:
    """`frame` with the header values of `headers` (vswitchd's names); None for a kind it cannot write.

    Handles ARP and unfragmented ICMP over IPv4; lengths and checksums come out right.
    """
    ethernet = _mac(headers["dl_dst"]) + _mac(headers["dl_src"])
    if frame[12:14] == b"\x08\x06" and len(frame) >= 42:
        body = struct.pack(
            "!H6s4s6s4s",
            int(headers["arp_op"]),
            _mac(headers["arp_sha"]),
            IPv4Address(headers["arp_spa"]).packed,
            _mac(headers["arp_tha"]),
            IPv4Address(headers["arp_tpa"]).packed,
        )
        return ethernet + frame[12:20] + body
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
