"""Encapsulation and decapsulation in place (Geneve, RFC 8926, for the paper's GRE elements).

The data of the segment option is exactly a virtio-net header, and it ends right before the inner frame. A tap needs
that header at the same place. So encapsulation leaves it there, and decapsulation finds it there: a 64 KB segment
crosses without a copied byte.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import numpy as np

from hoverboard.contract.encapsulation import (
    GENEVE_PORT,
    GENEVE_PROTOCOL,
    OPTION_CLASS,
    OUTER_BYTES,
    ROUTES_PORT,
    SEGMENT_OPTION_BYTES,
    SEGMENT_OPTION_TYPE,
    underlay_mac,
)
from hoverboard.contract.packets import mac_bytes
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import entries, packets, reasons
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.parse import Bytes, Words, be16, be32, clear, copy, put16

# hdr_len of the outer virtio-net header. With 0 the kernel would put a 64 KB frame into one piece of
# contiguous memory. With this value only the headers are in one piece, and the payload is in pages.
LINEAR_BYTES = 192
V_HDR_LEN = 2

DECAPSULATED = -1  # decapsulate() found an inner frame
FOR_HOST = -2  # decapsulate() found ARP or a Geneve OAM packet: for the control thread


def template(local: IPv4Address, remote: IPv4Address, vni: int) -> tuple[bytes, int]:
    """Outer headers with lengths, checksum, ECN and UDP source port zero, and the IPv4 header's sum.

    Returns:
        TEMPLATE_BYTES bytes, and the one's-complement sum of the IPv4 header. The option's data stays in the packet, so
            the rest of the bytes is unused. The engine adds length and TOS to the sum.
    """
    ethernet = mac_bytes(underlay_mac(remote)) + mac_bytes(underlay_mac(local)) + b"\x08\x00"
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0x4000, 64, 17, 0, local.packed, remote.packed)
    udp = struct.pack("!HHHH", 0, GENEVE_PORT, 0, 0)
    geneve = struct.pack("!BBHI", 0, 0, GENEVE_PROTOCOL, vni << 8)
    option = struct.pack("!HBB", OPTION_CLASS, SEGMENT_OPTION_TYPE, packets.VNET_BYTES // 4)
    outer = ethernet + ip + udp + geneve + option
    return outer.ljust(entries.TEMPLATE_BYTES, b"\0"), sum(struct.unpack("!10H", ip))


@compiled
def encapsulate(
    m: Memory, data: Bytes, frame: int, length: int, row: int, segment: bool, entropy: int, tos: int
) -> int:
    """Write the outer headers of flow entry `row` before the inner frame at data[frame:frame+length].

    With `segment`, the 12 bytes before the frame are its virtio-net header and become the option's data. The outer
    frame's own virtio-net header asks for no checksum and no segmentation; it only contains the length of its headers.
    `entropy` picks the UDP source port (RFC 8926 3.3). `tos` copies the inner ECN bits to the outer header (RFC 6040).

    Returns:
        The start of the outer frame; its virtio-net header is VNET_BYTES before.
    """
    outer = frame - OUTER_BYTES
    if segment:
        outer -= SEGMENT_OPTION_BYTES
        copy(data, outer, m.headers, m.entries[row, entries.HEADER] * entries.TEMPLATE_BYTES, OUTER_BYTES + 4)
        data[outer + 42] = SEGMENT_OPTION_BYTES // 4
    else:
        copy(data, outer, m.headers, m.entries[row, entries.HEADER] * entries.TEMPLATE_BYTES, OUTER_BYTES)
    total = length + (frame - outer) - 14
    put16(data, outer + 16, total)
    data[outer + 15] = tos
    total_sum = m.entries[row, entries.SUM] + total + tos
    total_sum = (total_sum & 0xFFFF) + (total_sum >> 16)
    total_sum = (total_sum & 0xFFFF) + (total_sum >> 16)
    put16(data, outer + 24, ~total_sum & 0xFFFF)
    put16(data, outer + 34, 0xC000 | (entropy & 0x3FFF))
    put16(data, outer + 38, total - 20)
    clear(data, outer - packets.VNET_BYTES, packets.VNET_BYTES)
    if length > LINEAR_BYTES:
        data[outer - packets.VNET_BYTES + V_HDR_LEN] = LINEAR_BYTES
    return outer


@compiled
def decapsulate(data: Bytes, at: int, length: int, local_ip: int, packet: Words) -> tuple[int, int]:
    """Check the outer headers of the frame data[at:at+length] and find the inner frame.

    Writes packets.FRAME, packets.LENGTH and packets.VNET of `packet`. Reads no byte past `length`.

    Returns:
        (DECAPSULATED, word 1 of the flow key), (FOR_HOST, 0), or (drop reason, 0).
    """
    if length < 14:
        return reasons.SHORT, 0
    kind = be16(data, at + 12)
    if kind == 0x0806:
        return FOR_HOST, 0
    if kind != 0x0800:
        return reasons.NOT_GENEVE, 0
    ip = at + 14
    header = np.int64(data[ip] & 0xF) << 2 if length >= 34 else 0
    if header < 20 or data[ip] >> 4 != 4 or length < 14 + header:
        return reasons.OUTER, 0
    total = be16(data, ip + 2)
    if total < header or total > length - 14:
        return reasons.OUTER, 0
    if be32(data, ip + 16) != local_ip:
        return reasons.NOT_US, 0
    # A fragment cannot be decapsulated without reassembly, and our fabric never makes fragments.
    if data[ip + 9] != 17 or be16(data, ip + 6) & 0x3FFF:
        return reasons.NOT_GENEVE, 0
    udp = ip + header
    room = total - header
    if room < 16:
        return reasons.OUTER, 0
    if be16(data, udp + 2) != GENEVE_PORT:
        return FOR_HOST if be16(data, udp + 2) == ROUTES_PORT else reasons.NOT_GENEVE, 0
    if be16(data, udp + 4) != room:
        return reasons.OUTER, 0
    geneve = udp + 8
    options = np.int64(data[geneve] & 0x3F) << 2
    if data[geneve] >> 6 != 0 or be16(data, geneve + 2) != GENEVE_PROTOCOL or room < 16 + options:
        return reasons.OUTER, 0
    if data[geneve + 1] & 0x80:
        return FOR_HOST, 0
    frame = geneve + 8 + options
    vnet = 0
    option = geneve + 8
    while option < frame:
        size = 4 + (np.int64(data[option + 3] & 0x1F) << 2)
        if option + size > frame:
            return reasons.OUTER, 0
        if (
            be16(data, option) == OPTION_CLASS and data[option + 2] == SEGMENT_OPTION_TYPE
            and size == SEGMENT_OPTION_BYTES and option + size == frame
        ):  # fmt: skip
            vnet = 1
        elif data[option + 2] & 0x80:
            return reasons.CRITICAL, 0  # RFC 8926 3.5: an unknown critical option forbids forwarding
        option += size
    packet[packets.FRAME] = frame
    packet[packets.LENGTH] = total - header - 16 - options
    packet[packets.VNET] = vnet
    vni = be32(data, geneve + 4) >> 8
    return DECAPSULATED, be32(data, ip + 12) << 32 | vni
