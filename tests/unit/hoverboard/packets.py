"""Packets for the tests, made with scapy."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from hoverboard.testing.memory_host import array, empty_key, empty_packet

VM_MAC, GATEWAY_MAC = "06:07:0a:00:00:02", "02:00:5e:00:00:01"


def frame(payload=None, src=VM_MAC, dst=GATEWAY_MAC, **ip):
    """An Ethernet frame of a VM as bytes: IPv4 10.0.0.2 -> 10.0.0.3 by default."""
    ip = {"src": "10.0.0.2", "dst": "10.0.0.3", **ip}
    return bytes(Ether(src=src, dst=dst) / IP(**ip) / (payload if payload is not None else UDP(sport=1000, dport=2000)))


__all__ = ["ARP", "ICMP", "IP", "TCP", "UDP", "Dot1Q", "Ether", "Raw", "array", "empty_key", "empty_packet", "frame"]
