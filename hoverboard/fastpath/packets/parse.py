"""Packet parser: reads the headers of a packet, never the payload, and makes its flow key (paper section 4.3).

The key has eight 64-bit words, one cache line. Any OpenFlow program that matches only on these fields treats two
packets with equal keys alike:

- word 0: in_port:16 | eth_type:16 | ip_proto:8 | 0:18 | ecn:2 | frag:2 | 0:1 | five:1
- word 1: tunnel source:32 | VNI:24 (0 when the packet comes from a VM)
- word 2: source port:16 | eth_src:48 (ports, ICMP type and code: only in a 5-tuple key)
- word 3: destination port:16 | eth_dst:48
- word 4: ipv4_src:32 | ipv4_dst:32, or the upper half of ipv6_src
- word 5: lower half of ipv6_src
- words 6, 7: ipv6_dst

So a 3-tuple key is (addresses, protocol) within one port, tunnel and pair of MACs. Its 5-tuple refinement differs only
in the ports and the `five` bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiled import syscalls
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import packets, reasons

PARSED = -1  # parse() found a complete IP header, and ports where the protocol has some
OTHER = -2  # parse() found another Ethernet type: addresses and ports are 0
FIVE_TUPLE = 1  # the `five` bit of word 0
FRAG_SHIFT, ECN_SHIFT, PROTO_SHIFT, TYPE_SHIFT, PORT_SHIFT = 2, 4, 24, 32, 48
ETH_IPV4, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]


_1, _2, _3 = np.uintp(1), np.uintp(2), np.uintp(3)


@compiled
def be16(data: Bytes, at: int) -> int:
    """Big-endian 16 bits at `at`.

    The index is unsigned, so it cannot count from the end as Python's negative ones do: LLVM then combines two loads
    into one.
    """
    i = np.uintp(at)
    return np.int64(data[i]) << 8 | np.int64(data[i + _1])


@compiled
def be32(data: Bytes, at: int) -> int:
    """Big-endian 32 bits at `at`."""
    i = np.uintp(at)
    return np.int64(data[i]) << 24 | np.int64(data[i + _1]) << 16 | np.int64(data[i + _2]) << 8 | np.int64(data[i + _3])


@compiled
def put16(data: Bytes, at: int, value: int) -> None:
    """Write 16 bits, big-endian."""
    i = np.uintp(at)
    data[i] = value >> 8 & 0xFF
    data[i + _1] = value & 0xFF


@compiled
def put32(data: Bytes, at: int, value: int) -> None:
    """Write 32 bits, big-endian."""
    i = np.uintp(at)
    data[i] = value >> 24 & 0xFF
    data[i + _1] = value >> 16 & 0xFF
    data[i + _2] = value >> 8 & 0xFF
    data[i + _3] = value & 0xFF


@compiled
def copy(target: Bytes, to: int, source: Bytes, begin: int, count: int) -> None:
    """Copy source[begin:begin+count] to target[to:to+count], without overlap, by libc's memcpy.

    A loop over bytes would check each index for being negative, and a slice assignment would compile its error
    messages.
    """
    syscalls.memcpy(
        np.uintp(target.ctypes.data) + np.uintp(to), np.uintp(source.ctypes.data) + np.uintp(begin), np.uintp(count)
    )


@compiled
def clear(target: Bytes, at: int, count: int) -> None:
    """Set target[at:at+count] to 0."""
    syscalls.memset(np.uintp(target.ctypes.data) + np.uintp(at), np.int32(0), np.uintp(count))


@compiled
def parse_ports(data: Bytes, l4: int, room: int, proto: int, packet: Words) -> bool:
    """Set packets.PORTS of `packet` from the transport header; False if the header is cut short."""
    if (proto == 6 and room >= 20) or (proto == 17 and room >= 8):
        packet[packets.PORTS] = be32(data, l4)
    elif (proto == 1 or proto == 58) and room >= 4:
        packet[packets.PORTS] = np.int64(data[l4]) << 16 | np.int64(data[l4 + 1])
    else:
        return proto != 6 and proto != 17 and proto != 1 and proto != 58
    return True


@compiled
def parse_ipv4(data: Bytes, at: int, length: int, in_port: int, key: Words, packet: Words) -> int:
    """Parse IPv4 (RFC 791); arguments and result as for parse()."""
    ip = at + 14
    header = np.int64(data[ip] & 0xF) << 2 if length >= 34 else 0
    if header < 20 or data[ip] >> 4 != 4 or length < 14 + header:
        return reasons.IPV4
    total = be16(data, ip + 2)
    if total < header or total > length - 14:
        return reasons.IPV4
    proto = np.int64(data[ip + 9])
    fragment = be16(data, ip + 6)
    frag = 0
    if fragment & 0x3FFF:
        frag = 2 if fragment & 0x1FFF else 1
    ecn = np.int64(data[ip + 1] & 3)
    key[0] = (
        in_port << PORT_SHIFT | np.int64(ETH_IPV4) << TYPE_SHIFT | proto << PROTO_SHIFT | ecn << ECN_SHIFT
        | frag << FRAG_SHIFT
    )  # fmt: skip
    key[4] = be32(data, ip + 12) << 32 | be32(data, ip + 16)
    if frag != 2 and not parse_ports(data, ip + header, total - header, proto, packet):
        return reasons.IPV4
    return PARSED


@compiled
def parse_ipv6(data: Bytes, at: int, length: int, in_port: int, key: Words, packet: Words) -> int:
    """Parse IPv6 (RFC 8200), past hop-by-hop, routing, destination and fragment headers; otherwise as parse()."""
    ip = at + 14
    if length < 54 or data[ip] >> 4 != 6:
        return reasons.IPV6
    room = be16(data, ip + 4)
    if room > length - 54:
        return reasons.IPV6
    proto = int(data[ip + 6])
    l4 = ip + 40
    frag = 0
    while frag != 2 and (proto == 0 or proto == 43 or proto == 60 or proto == 44):
        if room < 8:
            return reasons.IPV6
        size = 8
        if proto == 44:
            offset = be16(data, l4 + 2)
            if offset & 0xFFF9:  # an atomic fragment (RFC 6946) counts as a whole packet
                frag = 2 if offset & 0xFFF8 else 1
        else:
            size = int(data[l4 + 1] + 1) << 3
        if size > room:
            return reasons.IPV6
        proto = int(data[l4])
        l4 += size
        room -= size
    ecn = be16(data, ip) >> 4 & 3
    key[0] = (
        in_port << PORT_SHIFT | np.int64(ETH_IPV6) << TYPE_SHIFT | proto << PROTO_SHIFT | ecn << ECN_SHIFT
        | frag << FRAG_SHIFT
    )  # fmt: skip
    for word in range(4):
        key[4 + word] = be32(data, ip + 8 + 8 * word) << 32 | be32(data, ip + 12 + 8 * word)
    if frag != 2 and not parse_ports(data, l4, room, proto, packet):
        return reasons.IPV6
    return PARSED


@compiled
def parse(data: Bytes, at: int, length: int, in_port: int, tunnel: int, key: Words, packet: Words) -> int:
    """Fill the 3-tuple `key` from the Ethernet frame data[at:at+length], and packets.PORTS of `packet`.

    Args:
        data: bytes that contain the frame.
        at: offset of the frame in `data`.
        length: bytes of the frame.
        in_port: OpenFlow port that received the frame.
        tunnel: word 1 of the key.
        key: (KEY_WORDS,) int64, written.
        packet: (packets.WORDS,) int64; only packets.PORTS is written: source port:16 | destination port:16.

    Returns:
        PARSED, OTHER, or the drop reason (an index into reasons.NAMES) of a frame that must not be forwarded.
    """
    if length < 14:
        return reasons.SHORT
    kind = be16(data, at + 12)
    packet[packets.PORTS] = 0
    key[1] = tunnel
    key[2] = be32(data, at + 6) << 16 | be16(data, at + 10)
    key[3] = be32(data, at) << 16 | be16(data, at + 4)
    key[4] = 0
    key[5] = 0
    key[6] = 0
    key[7] = 0
    if kind == ETH_IPV4:
        return parse_ipv4(data, at, length, in_port, key, packet)
    if kind == ETH_IPV6:
        return parse_ipv6(data, at, length, in_port, key, packet)
    if kind == 0x8100 or kind == 0x88A8:
        return reasons.VLAN
    key[0] = in_port << PORT_SHIFT | kind << TYPE_SHIFT
    return OTHER


@compiled
def mix(key: Words, ports: int, five: int) -> int:
    """64-bit hash of a 3-tuple key with `ports` (source:16 | destination:16) and the five bit as given.

    It multiplies and xor-shifts each word (as FNV and splitmix do), so that each word reaches the low bits that pick a
    slot. The hash has no secret key: a VM chooses only its destinations and ports, and the low load factor bounds
    probing.
    """
    value = (key[0] | five) * -0x61C8864680B583EB
    value ^= value >> 29 & 0x7FFFFFFFF
    value = (value ^ key[1]) * -0x40A7B892E31B1A47
    value ^= value >> 29 & 0x7FFFFFFFF
    value = (value ^ key[2] ^ (ports >> 16) << 48) * -0x6B2FB644ECCEEE15
    value = (value ^ key[3] ^ ports << 48) * -0x61C8864680B583EB
    value ^= value >> 29 & 0x7FFFFFFFF
    value = (value ^ key[4]) * -0x40A7B892E31B1A47
    if key[0] >> TYPE_SHIFT & 0xFFFF == ETH_IPV6:
        value ^= value >> 29 & 0x7FFFFFFFF
        value = (value ^ key[5]) * -0x6B2FB644ECCEEE15
        value = (value ^ key[6]) * -0x61C8864680B583EB
        value ^= value >> 29 & 0x7FFFFFFFF
        value = (value ^ key[7]) * -0x40A7B892E31B1A47
    value *= -0x6B2FB644ECCEEE15
    return value ^ (value >> 32 & 0xFFFFFFFF)


def with_ports(key: tuple[int, ...], ports: int) -> tuple[int, ...]:
    """The 5-tuple refinement of a 3-tuple key, in Python."""

    def signed(word: int) -> int:
        return word - (1 << 64) if word >> 63 else word

    return (
        key[0] | FIVE_TUPLE, key[1], signed(key[2] | (ports >> 16 & 0xFFFF) << 48),
        signed(key[3] | (ports & 0xFFFF) << 48), *key[4:],
    )  # fmt: skip
