"""Reads the header fields that stages need from an inner Ethernet frame.

The engine's parser has checked each packet before, so this parser is short. It returns None for a frame without a
complete IPv4 or IPv6 header, and the stage decides what to do with it.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

ETHERNET = 14
TCP, UDP, ICMP, ESP = 6, 17, 1, 50
SYN, ACK = 0x02, 0x10

_IPV4 = struct.Struct("!12xHBBHHHBBH4s4s")
_IPV6 = struct.Struct("!12xHIHBB16s16s")
_PORTS = struct.Struct("!HH")


class Headers(NamedTuple):
    """Header fields of one packet. Ports are 0 if it has no ports (ICMP, later fragments)."""

    source: bytes  # 4 or 16 bytes
    destination: bytes
    protocol: int
    source_port: int
    destination_port: int
    tcp_flags: int  # 0 for anything but TCP
    fragment: bool  # a later fragment: it contains no ports

    @property
    def connects(self) -> bool:
        """Whether the packet opens a TCP connection: SYN without ACK."""
        return self.tcp_flags & (SYN | ACK) == SYN


def read(frame: bytearray) -> Headers | None:
    """The header fields of `frame`; None when it is not a complete IPv4 or IPv6 packet."""
    size = len(frame)
    if size < ETHERNET + 20:
        return None
    kind = frame[12] << 8 | frame[13]
    if kind == 0x0800:
        _, version, _, total, _, offset, _, protocol, _, source, destination = _IPV4.unpack_from(frame)
        header = (version & 0xF) << 2
        if version >> 4 != 4 or header < 20 or total < header or total > size - ETHERNET:
            return None
        begin, end = ETHERNET + header, ETHERNET + total
        fragment = bool(offset & 0x1FFF)
    elif kind == 0x86DD and size >= ETHERNET + 40:
        _, word, length, protocol, _, source, destination = _IPV6.unpack_from(frame)
        if word >> 28 != 6 or length > size - ETHERNET - 40:
            return None
        # Extension headers are not parsed: such a packet has the extension's protocol number and no ports.
        begin, end, fragment = ETHERNET + 40, ETHERNET + 40 + length, False
    else:
        return None
    ports, flags = (0, 0), 0
    if not fragment and protocol in (TCP, UDP) and end - begin >= 8:
        ports = _PORTS.unpack_from(frame, begin)
        if protocol == TCP and end - begin >= 20:
            flags = frame[begin + 13]
    return Headers(source, destination, protocol, *ports, flags, fragment)


def text(address: bytes) -> str:
    """An address as people write it."""
    return str(IPv4Address(address) if len(address) == 4 else IPv6Address(address))
