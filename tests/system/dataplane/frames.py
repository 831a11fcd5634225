"""Frames as VMs and the fabric carry them, byte by byte, well-formed and malformed."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

from hoverboard.contract.encapsulation import GENEVE_PORT, GENEVE_PROTOCOL, underlay_mac
from hoverboard.contract.packets import internet_checksum, mac_bytes


def ethernet(dst: str, src: str, kind: int, body: bytes) -> bytes:
    """An Ethernet frame."""
    return mac_bytes(dst) + mac_bytes(src) + struct.pack("!H", kind) + body


def ipv4(
    src: str | IPv4Address, dst: str | IPv4Address, protocol: int, payload: bytes,
    *, version: int = 4, words: int = 5, total: int | None = None,
) -> bytes:  # fmt: skip
    """An IPv4 packet, malformed where told."""
    length = 20 + len(payload) if total is None else total
    source, target = IPv4Address(src).packed, IPv4Address(dst).packed
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | words, 0, length, 1, 0, 64, protocol, 0, source, target)
    return head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + payload


def datagram(port: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A UDP header without checksum and a payload."""
    return struct.pack("!HHHH", 40000, port, 8 + len(payload) if length is None else length, 0) + payload


def arp(op: int, sha: str, spa: str | IPv4Address, tpa: str | IPv4Address) -> bytes:
    """An ARP message."""
    return struct.pack(
        "!HHBBH6s4s6s4s",
        1,
        0x0800,
        6,
        4,
        op,
        mac_bytes(sha),
        IPv4Address(spa).packed,
        bytes(6),
        IPv4Address(tpa).packed,
    )  # fmt: skip


def geneve(vni: int, inner: bytes, *, version: int = 0, options: bytes = b"", words: int | None = None) -> bytes:
    """A Geneve packet (what UDP carries)."""
    first = version << 6 | (len(options) // 4 if words is None else words)
    return struct.pack("!BBHI", first, 0, GENEVE_PROTOCOL, vni << 8) + options + inner


def outer(src: IPv4Address, dst: IPv4Address, payload: bytes, *, port: int = GENEVE_PORT, **more: Any) -> bytes:
    """A frame on the fabric that carries `payload` in UDP."""
    return ethernet(underlay_mac(dst), underlay_mac(src), 0x0800, ipv4(src, dst, 17, datagram(port, payload, **more)))
