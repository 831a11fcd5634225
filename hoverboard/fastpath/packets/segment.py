"""Segmentation and checksums in software, for peers that cannot receive whole segments.

A tap with offloads gives TCP segments of up to 64 KB whose checksum is not complete. Another fast path accepts them
unchanged. An Open vSwitch at the other end needs MTU-sized packets with complete checksums.
"""

from __future__ import annotations

import numpy as np

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import packets
from hoverboard.fastpath.packets.parse import ETH_IPV4, ETH_IPV6, Bytes, be16, be32, copy, put16, put32

# struct virtio_net_hdr_v1 (virtio 1.2, section 5.1.6), little-endian.
V_FLAGS, V_GSO_TYPE, V_GSO_SIZE, V_CSUM_START, V_CSUM_OFFSET = 0, 1, 4, 6, 8
NEEDS_CSUM = 1
GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 1, 4, 5, 0x80
TCP_FIN_PSH, TCP_CWR = 0x09, 0x80


@compiled
def le16(data: Bytes, at: int) -> int:
    """Little-endian 16 bits at `at`."""
    return np.int64(data[at]) | np.int64(data[at + 1]) << 8


@compiled
def add_words(data: Bytes, at: int, length: int, total: int) -> int:
    """One's-complement sum (not folded) of `length` bytes as big-endian 16-bit words, plus `total`."""
    even = length & ~1
    high = np.int64(0)
    low = np.int64(0)
    for i in range(0, even, 2):
        high += data[at + i]
        low += data[at + i + 1]
    if length & 1:
        high += data[at + even]
    return total + (high << 8) + low


@compiled
def fold(total: int) -> int:
    """Internet checksum (RFC 1071) of a sum of 16-bit words."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@compiled
def complete_checksum(data: Bytes, frame: int, length: int) -> bool:
    """Complete, in place, the transport checksum that the virtio-net header before `frame` asks for.

    Returns:
        False if the header names bytes outside the frame.
    """
    vnet = frame - packets.VNET_BYTES
    start = le16(data, vnet + V_CSUM_START)
    offset = le16(data, vnet + V_CSUM_OFFSET)
    if start < 14 or start + offset + 2 > length:
        return False
    value = fold(add_words(data, frame + start, length - start, 0))
    # An all-zero UDP checksum means "none" (RFC 768); 0xFFFF is the same number.
    put16(data, frame + start + offset, value if value else 0xFFFF)
    return True


@compiled
def transport(data: Bytes, frame: int) -> tuple[int, int]:
    """(offset of the transport header, its protocol) of a complete IP frame; IPv6 without extension headers."""
    if data[frame + 12] == 0x86 and data[frame + 13] == 0xDD:
        return 54, np.int64(data[frame + 20])
    return 14 + (np.int64(data[frame + 14] & 0xF) << 2), np.int64(data[frame + 23])


@compiled
def headers_length(data: Bytes, frame: int, length: int) -> int:
    """Bytes before the payload of the segment at `frame`, or -1 if it cannot be cut, for example without a payload."""
    vnet = frame - packets.VNET_BYTES
    kind = data[vnet + V_GSO_TYPE] & 0x7F
    ethernet = be16(data, frame + 12) if length >= 34 else 0
    if not (ethernet == ETH_IPV4 and kind != GSO_TCPV6) and not (ethernet == ETH_IPV6 and kind != GSO_TCPV4):
        return -1
    start, proto = transport(data, frame)
    if le16(data, vnet + V_CSUM_START) != start or start + 20 > length or le16(data, vnet + V_GSO_SIZE) < 8:
        return -1
    if kind in (GSO_TCPV4, GSO_TCPV6) and proto == 6:
        header = np.int64(data[frame + start + 12] >> 4) << 2
        return start + header if header >= 20 and start + header < length else -1
    if kind == GSO_UDP_L4 and proto == 17:
        return start + 8
    return -1


@compiled
def cut_ip(data: Bytes, frame: int, start: int, number: int, out: Bytes, at: int, length: int) -> int:
    """Write the IP header of packet `number` at out[at + 14]; returns the sum of its addresses."""
    ip = at + 14
    if out[at + 12] == 0x86:
        put16(out, ip + 4, length - 54)
        return add_words(out, ip + 8, 32, 0)
    put16(out, ip + 2, length - 14)
    put16(out, ip + 4, be16(data, frame + 18) + number)
    put16(out, ip + 10, 0)
    put16(out, ip + 10, fold(add_words(out, ip, start - 14, 0)))
    return add_words(out, ip + 12, 8, 0)


@compiled
def cut(data: Bytes, frame: int, headers: int, done: int, take: int, last: bool, out: Bytes, at: int) -> int:
    """Write the packet that carries payload bytes done..done+take of a segment to out[at:].

    Args:
        data: bytes that contain the segment, behind its virtio-net header.
        frame: offset of the segment in `data`.
        headers: result of headers_length().
        done: payload bytes already sent, a multiple of the segment size.
        take: payload bytes of this packet: the segment size, or less for the last packet.
        last: this is the segment's last packet, which keeps the flags FIN and PSH.
        out: the packet's memory.
        at: offset of the packet in `out`.

    Returns:
        Length of the packet, with complete lengths, IPv4 identification and checksums.
    """
    start, proto = transport(data, frame)
    copy(out, at, data, frame, headers)
    copy(out, at + headers, data, frame + headers + done, take)
    length = headers + take
    number = done // le16(data, frame - packets.VNET_BYTES + V_GSO_SIZE)
    addresses = cut_ip(data, frame, start, number, out, at, length)
    l4 = at + start
    size = length - start
    field = 16
    if proto == 6:
        put32(out, l4 + 4, be32(data, frame + start + 4) + done)
        flags = out[l4 + 13]
        if not last:
            flags &= ~TCP_FIN_PSH & 0xFF
        if number:
            flags &= ~TCP_CWR & 0xFF
        out[l4 + 13] = flags
    else:
        field = 6
        put16(out, l4 + 4, size)
    put16(out, l4 + field, 0)
    value = fold(add_words(out, l4, size, addresses + proto + size))
    put16(out, l4 + field, value if value or proto == 6 else 0xFFFF)
    return length
