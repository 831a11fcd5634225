"""Frames of VMs that ESP carries: small, larger than the fabric takes, IPv6, and of the rarer kinds."""

from __future__ import annotations

import struct

from tests.unit.hoverboard.coprocessor.fakes import IP, TCP, UDP, IPv6, Raw, ethernet

SPI = 0x80010007
VNET = struct.pack("<BBHHHHH", 1, 1, 54, 1396, 34, 16, 0)  # a TCP segment, checksum begun
SEGMENT = ethernet(IP(src="10.0.0.1", dst="10.0.0.2", tos=2, ttl=61, id=7), TCP(sport=5, dport=6) / Raw(b"x" * 64000))
SMALL = ethernet(IP(src="10.0.0.1", dst="10.0.0.2"), UDP(sport=1, dport=2) / Raw(b"hello"))
SIX = ethernet(IPv6(src="fd00::1", dst="fd00::2", tc=0xB8, hlim=63), UDP(sport=1, dport=2) / Raw(b"hello!"))
FRAGMENT = ethernet(IP(src="10.0.0.1", dst="10.0.0.2", frag=100, flags="MF", proto=17), Raw(b"y" * 64))
OPTIONS = ethernet(IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x94\x04\x00\x00"]), UDP() / Raw(b"z"))
PACKETS = {"small": SMALL, "segment": SEGMENT, "IPv6": SIX, "fragment": FRAGMENT, "IP options": OPTIONS}
