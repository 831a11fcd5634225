"""Packets for the tests, made with scapy, and the engine's memory without an engine."""

from __future__ import annotations

import numpy as np
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from hoverboard.fastpath.memory import entries, packets

VM_MAC, GATEWAY_MAC = "06:07:0a:00:00:02", "02:00:5e:00:00:01"


def frame(payload=None, src=VM_MAC, dst=GATEWAY_MAC, **ip):
    """An Ethernet frame of a VM as bytes: IPv4 10.0.0.2 -> 10.0.0.3 unless told otherwise."""
    ip = {"src": "10.0.0.2", "dst": "10.0.0.3", **ip}
    return bytes(Ether(src=src, dst=dst) / IP(**ip) / (payload if payload is not None else UDP(sport=1000, dport=2000)))


def array(data, before=0):
    """uint8 array of `before` zero bytes and `data`, with nothing after it."""
    return np.frombuffer(bytearray(bytes(before) + data), np.uint8)


def empty_key():
    """A zero flow key."""
    return np.zeros(entries.KEY_WORDS, np.int64)


def empty_packet():
    """A zero row of packets[]."""
    return np.zeros(packets.WORDS, np.int64)


__all__ = ["ARP", "ICMP", "IP", "TCP", "UDP", "Dot1Q", "Ether", "Raw", "array", "empty_key", "empty_packet", "frame"]
