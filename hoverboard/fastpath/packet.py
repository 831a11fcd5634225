"""Packet parser: bytes in, flow key out (paper section 4.3). Reads headers, never the payload.

The key is six 64-bit words; two packets with equal keys are treated alike by any OpenFlow program
that matches only on what is in it:

    0  in_port:16 | eth_type:16 | ip_proto:8 | 0:18 | ecn:2 | frag:2 | 0:1 | five:1
    1  tunnel source:32 | VNI:24                   (0 when the packet comes from a VM)
    2  eth_src          3  eth_dst
    4  ipv4_src:32 | ipv4_dst:32
    5  source port:16 | destination port:16, ICMP type:16 | code:16; only in a 5-tuple key

So a 3-tuple key is (addresses, protocol) within one port, tunnel and pair of MACs, and its 5-tuple
refinement differs in word 5 and the `five` bit alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiler import compiled, inlined
from hoverboard.fastpath.layout import R_IPV4, R_SHORT, R_VLAN

PARSED = -1  # parse() found a complete IPv4 header
OTHER = -2  # parse() found another Ethernet type: words 4 and 5 are 0
FIVE = 1  # the `five` bit of word 0
FRAG_SHIFT, ECN_SHIFT, PROTO_SHIFT, TYPE_SHIFT, PORT_SHIFT = 2, 4, 24, 32, 48

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]


@inlined
def be16(data: Bytes, at: int) -> int:
    """Big-endian 16 bits at `at`."""
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


@inlined
def be32(data: Bytes, at: int) -> int:
    """Big-endian 32 bits at `at`."""
    return (
        np.int64(data[at]) << 24 | np.int64(data[at + 1]) << 16 | np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
    )


@inlined
def put16(data: Bytes, at: int, value: int) -> None:
    """Write 16 bits, big-endian."""
    data[at] = value >> 8 & 0xFF
    data[at + 1] = value & 0xFF


@inlined
def put32(data: Bytes, at: int, value: int) -> None:
    """Write 32 bits, big-endian."""
    put16(data, at, value >> 16)
    put16(data, at + 2, value)


@compiled
def copy(target: Bytes, to: int, source: Bytes, begin: int, count: int) -> None:
    """target[to:to+count] = source[begin:begin+count], without overlap.

    A loop, which LLVM turns into memcpy: a slice assignment would compile its error messages too,
    and that takes most of a minute.
    """
    for i in range(count):
        target[to + i] = source[begin + i]


@compiled
def parse(data: Bytes, at: int, length: int, in_port: int, tunnel: int, key: Words) -> int:
    """Fill `key` from the Ethernet frame data[at:at+length].

    Args:
        in_port: OpenFlow port it came in by.
        tunnel: word 1 of the key.
        key: (KEY_WORDS,) int64, written.

    Returns:
        PARSED, OTHER, or the drop reason (an index into layout.REASONS) of a frame not to forward.
    """
    if length < 14:
        return R_SHORT
    kind = be16(data, at + 12)
    key[1] = tunnel
    key[2] = be32(data, at + 6) << 16 | be16(data, at + 10)
    key[3] = be32(data, at) << 16 | be16(data, at + 4)
    if kind != 0x0800:
        if kind == 0x8100 or kind == 0x88A8:
            return R_VLAN
        key[0] = in_port << PORT_SHIFT | kind << TYPE_SHIFT
        key[4] = 0
        key[5] = 0
        return OTHER
    ip = at + 14
    header = np.int64(data[ip] & 0xF) << 2
    if length < 34 or data[ip] >> 4 != 4 or header < 20 or length < 14 + header:
        return R_IPV4
    total = be16(data, ip + 2)
    if total < header or total > length - 14:
        return R_IPV4
    proto = np.int64(data[ip + 9])
    fragment = be16(data, ip + 6)
    frag = 0
    if fragment & 0x3FFF:
        frag = 2 if fragment & 0x1FFF else 1
    ecn = np.int64(data[ip + 1] & 3)
    key[0] = (
        in_port << PORT_SHIFT | np.int64(0x0800) << TYPE_SHIFT | proto << PROTO_SHIFT | ecn << ECN_SHIFT
        | frag << FRAG_SHIFT
    )  # fmt: skip
    key[4] = be32(data, ip + 12) << 32 | be32(data, ip + 16)
    l4 = ip + header
    room = total - header
    key[5] = 0
    if frag != 2:
        if (proto == 6 and room >= 20) or (proto == 17 and room >= 8):
            key[5] = be32(data, l4)
        elif proto == 1 and room >= 4:
            key[5] = np.int64(data[l4]) << 16 | np.int64(data[l4 + 1])
        elif proto == 6 or proto == 17 or proto == 1:
            return R_IPV4
    return PARSED


@inlined
def mix(key: Words, ports: int, five: int) -> int:
    """64-bit hash of a key with `ports` in word 5 and the five bit set as given.

    Multiply and xor-shift per word (as in FNV and splitmix): each word reaches the low bits that
    pick a slot. Not keyed: a VM chooses only its destinations and ports, and probing is bounded by
    the low load factor.
    """
    value = (key[0] | five) * -0x61C8864680B583EB
    value ^= value >> 29 & 0x7FFFFFFFF
    value = (value ^ key[1]) * -0x40A7B892E31B1A47
    value ^= value >> 29 & 0x7FFFFFFFF
    value = (value ^ key[2]) * -0x6B2FB644ECCEEE15
    value = (value ^ key[3]) * -0x61C8864680B583EB
    value ^= value >> 29 & 0x7FFFFFFFF
    value = (value ^ key[4]) * -0x40A7B892E31B1A47
    value = (value ^ ports) * -0x6B2FB644ECCEEE15
    return value ^ (value >> 32 & 0xFFFFFFFF)
