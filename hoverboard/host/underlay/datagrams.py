"""Datagrams between host processes over the fabric, on the UDP port of the route exchange (`ROUTES_PORT`).

If the kernel has the node's underlay address, they go through a kernel socket. If the fast path has the uplink, they
are frames that the host process injects. They may get lost; the sender of a request retries.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from typing import Protocol

from hoverboard.contract.encapsulation import ROUTES_PORT, underlay_mac
from hoverboard.contract.packets import internet_checksum, mac_bytes
from hoverboard.fastpath.engine.datapath import Datapath
from hoverboard.fastpath.memory import packets, ports, rings

DatagramReceiver = Callable[[IPv4Address, bytes], None]


class Datagrams(Protocol):
    """Sends datagrams to other hosts. Received datagrams go to listeners.RouteListener."""

    def send(self, to: IPv4Address, payload: bytes) -> None:
        """Send a datagram, which may get lost."""


class EngineDatagrams:
    """Datagrams as frames, where the engines have the uplink; peers.Peers receives them.

    Args:
        local_ip: underlay address of this host.
    """

    def __init__(self, datapath: Datapath, local_ip: IPv4Address) -> None:
        self._datapath = datapath
        self._local_ip = local_ip

    def send(self, to: IPv4Address, payload: bytes) -> None:
        """Send a datagram."""
        self._datapath.inject(
            ports.UPLINK, bytes(packets.VNET_BYTES) + datagram(self._local_ip, to, payload), rings.INJECT_RAW
        )


def underlay_socket(local_ip: IPv4Address) -> socket.socket:
    """Open a socket on the port of the route exchange."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # The address may be missing now, or go and return, with the switch's own device.
    made.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
    made.bind((str(local_ip), ROUTES_PORT))
    return made


class KernelDatagrams:
    """Datagrams through a socket, where a device of the node has the underlay address.

    Args:
        made: a socket from `underlay_socket`.
    """

    def __init__(self, made: socket.socket) -> None:
        self._socket = made
        self._socket.setblocking(False)

    def send(self, to: IPv4Address, payload: bytes) -> None:
        """Send a datagram; an error of the socket loses it."""
        with contextlib.suppress(OSError):
            self._socket.sendto(payload, (str(to), ROUTES_PORT))

    def readers(self, received: DatagramReceiver) -> dict[int, Callable[[], None]]:
        """The socket to poll, and its callback, which passes each datagram and its sender to `received`."""
        return {self._socket.fileno(): partial(self._receive, received)}

    def _receive(self, received: DatagramReceiver) -> None:
        while True:
            try:
                payload, (sender, _port) = self._socket.recvfrom(2048)
            except OSError:
                return  # nothing more for now
            received(IPv4Address(sender), payload)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def datagram(source: IPv4Address, target: IPv4Address, payload: bytes) -> bytes:
    """An Ethernet frame that holds a UDP datagram of the route exchange."""
    udp = struct.pack("!HHHH", ROUTES_PORT, ROUTES_PORT, 8 + len(payload), 0)  # no checksum: RFC 768 allows 0
    length = 20 + len(udp) + len(payload)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0, source.packed, target.packed)
    ip = ip[:10] + struct.pack("!H", internet_checksum(ip)) + ip[12:]
    ethernet = mac_bytes(underlay_mac(target)) + mac_bytes(underlay_mac(source)) + b"\x08\x00"
    return ethernet + ip + udp + payload


def read_datagram(frame: bytes) -> tuple[IPv4Address, bytes] | None:
    """(sender, payload) of a frame from the fabric; None for any other frame."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[14] != 0x45 or frame[23] != 17:
        return None
    port, size = struct.unpack("!HH", frame[36:40])
    if port != ROUTES_PORT or size < 8 or len(frame) < 34 + size:
        return None
    return IPv4Address(frame[26:30]), frame[42 : 34 + size]
