"""Packets to start from, made by scapy, and the compiled mutator that bends them some millions of times a second.

A mutated frame ends where its buffer ends, and right behind it is a page without access rights:
one byte read or written past the frame ends the process.
"""

from __future__ import annotations

import ctypes
import mmap
from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from hoverboard.contract.encapsulation import OPTION_CLASS, SEGMENT_OPTION_TYPE
from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import packets

LOCAL, REMOTE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
VNIS = (7, 8)
WIDTH = 512  # bytes of the longest frame
VNET = packets.VNET_BYTES
SRC_MAC, DST_MAC = "06:07:0a:00:00:02", "02:00:5e:00:00:01"


def guarded(size: int) -> NDArray[np.uint8]:
    """(size,) bytes that end at a page which may be neither read nor written."""
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    mapping = mmap.mmap(-1, pages + mmap.PAGESIZE)
    whole = np.frombuffer(mapping, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(whole.ctypes.data + pages), ctypes.c_size_t(mmap.PAGESIZE), 0) < 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return whole[pages - size : pages]


def inner_frames() -> list[bytes]:
    """Valid frames of VMs, and some that are to be dropped."""
    frames = []
    for last in range(3, 9):
        four = Ether(src=SRC_MAC, dst=DST_MAC) / IP(src="10.0.0.2", dst=f"10.0.0.{last}")
        six = Ether(src=SRC_MAC, dst=DST_MAC) / IPv6(src="fd00::2", dst=f"fd00::{last}")
        udp, tcp = UDP(sport=1000, dport=2000 + last), TCP(sport=5, dport=80, options=[("MSS", 1400), ("WScale", 7)])
        frames += [
            four / udp / Raw(b"u" * 20), four / tcp / Raw(b"t" * 300), four / ICMP() / Raw(b"p" * 56),
            four / TCP(sport=6, dport=80), four / udp,
            six / udp / Raw(b"v" * 20), six / tcp / Raw(b"w" * 300), six / ICMPv6EchoRequest(),
        ]  # fmt: skip
    v4, v6 = (Ether(src=SRC_MAC, dst=DST_MAC) / ip for ip in (
        IP(src="10.0.0.2", dst="10.0.0.3"), IPv6(src="fd00::2", dst="fd00::3")))  # fmt: skip
    frames += [
        Ether(src=SRC_MAC, dst=DST_MAC) / IP(src="10.0.0.2", dst="10.0.0.3", options=b"\x01" * 40) / UDP(dport=9),
        Ether(src=SRC_MAC, dst=DST_MAC) / IP(src="10.0.0.2", dst="10.0.0.3", flags="MF") / UDP(dport=9) / Raw(b"f" * 8),
        Ether(src=SRC_MAC, dst=DST_MAC) / IP(src="10.0.0.2", dst="10.0.0.3", frag=3, proto=17) / Raw(b"f" * 8),
        Ether(src=SRC_MAC, dst=DST_MAC) / IP(src="10.0.0.2", dst="10.0.0.3", tos=3, proto=47) / Raw(b"g" * 8),
        v6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"]) / IPv6ExtHdrDestOpt() / UDP(dport=9),
        v6 / IPv6ExtHdrFragment(m=1) / UDP(dport=9) / Raw(b"f" * 8),
        v6 / IPv6ExtHdrFragment(offset=4, nh=17) / Raw(b"f" * 8),
        v6 / IPv6ExtHdrFragment() / UDP(dport=9),
        Ether(src=SRC_MAC, dst=DST_MAC) / ARP(psrc="10.0.0.2", pdst="10.0.0.1"),
        Ether(src=SRC_MAC, dst=DST_MAC) / Dot1Q(vlan=5) / IP() / UDP(),
        Ether(src=SRC_MAC, dst=DST_MAC, type=0x88A8) / Dot1Q(vlan=5, type=0x8100) / Dot1Q(vlan=6) / IP() / UDP(),
        v4 / TCP(flags="FPU"), v4 / UDP(len=3), Ether(type=0x0800), Ether(type=0x86DD), Ether(type=0x88CC) / Raw(b"x"),
    ]  # fmt: skip
    return [bytes(one) for one in frames]


def option(kind: int, data: bytes, option_class: int = OPTION_CLASS) -> bytes:
    """A Geneve option."""
    return option_class.to_bytes(2, "big") + bytes([kind, len(data) // 4]) + data


def outer_frames(inner: list[bytes]) -> list[bytes]:
    """Frames of the fabric that carry `inner`, and some for others or for the host itself."""
    segment = option(SEGMENT_OPTION_TYPE, bytes(packets.VNET_BYTES))
    strange = option(5, bytes(8), 0xFF00)
    frames = []
    for number, one in enumerate(inner):
        for vni in VNIS:
            options = (b"", segment, strange, strange + segment, segment + strange, option(0x85, b""))[number % 6]
            head = bytes([len(options) // 4, 0]) + b"\x65\x58" + (vni << 8).to_bytes(4, "big") + options
            ip = IP(src=str(REMOTE), dst=str(LOCAL), options=b"\x01" * 4 if number % 7 == 6 else [])
            frames.append(bytes(Ether() / ip / UDP(sport=50000, dport=6081, chksum=0) / Raw(head + one)))
    plain = frames[0]
    frames += [
        bytes(Ether() / ARP()), plain[:42] + bytes([plain[42], 0x80]) + plain[44:], plain[:14], plain[:33],
        bytes(Ether() / IP(src=str(REMOTE), dst="172.16.9.9") / UDP(dport=6081) / Raw(bytes(30))),
        bytes(Ether() / IPv6() / UDP(dport=6081)), bytes(Ether() / IP(dst=str(LOCAL)) / TCP()),
    ]  # fmt: skip
    return frames


def stacked(frames: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """((frames, WIDTH) bytes, lengths)."""
    made = np.zeros((len(frames), WIDTH), np.uint8)
    for row, one in zip(made, frames, strict=True):
        row[: len(one)] = np.frombuffer(one, np.uint8)
    return made, np.array([len(one) for one in frames], np.int64)


@compiled
def chance(state, below):
    """The next number in 0..below-1 (xorshift64*)."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % below


@compiled
def mutate(state, frames, lengths, out):
    """A bent frame into the last bytes of `out`; its length. One in four stays as it was."""
    row = chance(state, lengths.shape[0])
    length = lengths[row]
    end = out.shape[0]
    whole = chance(state, 4) == 0
    size = length
    if not whole:
        kind = chance(state, 8)
        if kind == 0:
            size = chance(state, length + 1)  # cut short
        elif kind == 1:
            size = min(end - VNET, length + chance(state, 64))  # padded with whatever is there
        elif kind == 2:
            size = min(length, 12 + chance(state, 100))  # cut in its headers
    at = end - size
    for i in range(min(size, length)):
        out[at + i] = frames[row, i]
    for i in range(length, size):
        out[at + i] = chance(state, 256)
    if whole or size == 0:
        return size
    if chance(state, 64) == 0:
        for i in range(size):
            out[at + i] = chance(state, 256)
        return size
    for _ in range(chance(state, 5)):
        # Headers are where it hurts: most changes in the first bytes, the outer or the inner ones.
        where = chance(state, size) if chance(state, 4) == 0 else chance(state, min(size, 110))
        what = chance(state, 6)
        if what == 0:
            out[at + where] = chance(state, 256)
        elif what == 1:
            out[at + where] ^= 1 << chance(state, 8)
        elif what == 2:
            out[at + where] = 0
        elif what == 3:
            out[at + where] = 255
        elif what == 4:
            out[at + where] += 1
        else:
            out[at + where] -= 1
    return size


@compiled
def header(state, out, at):
    """A virtio-net header of a VM at out[at:]: mostly none, else plausible or anything."""
    for i in range(VNET):
        out[at + i] = 0
    kind = chance(state, 8)
    if kind > 2:
        return
    out[at] = 1
    out[at + 6] = 34 if chance(state, 2) else 54
    out[at + 8] = 16 if chance(state, 2) else 6
    if kind > 0:
        out[at + 1] = (1, 4, 5, 3, 0x81)[chance(state, 5)]
        size = 64 + chance(state, 200) if chance(state, 8) else chance(state, 8)
        out[at + 4] = size & 255
        out[at + 5] = size >> 8
    if chance(state, 6) == 0:
        out[at + (1, 6, 7, 8, 9)[chance(state, 5)]] = chance(state, 256)
