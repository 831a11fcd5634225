"""Pings from the namespaces of VMs, without a process for each, to find out whether the network works."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_address

from hoverboard.contract.packets import Address, internet_checksum
from topologies.emulation.devices import GUEST_DEVICE, entered

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ECHO6_REQUEST, _ECHO6_REPLY = 128, 129
_IDENTIFIER = 0x4842


def echo_request(sequence: int) -> bytes:
    """An ICMP echo request with our identifier, as bytes."""
    payload = b"hoverboard"
    head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, _IDENTIFIER, sequence)
    checksum = internet_checksum(head + payload)
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum, _IDENTIFIER, sequence) + payload


def is_reply(packet: bytes) -> bool:
    """Whether an IPv4 packet is an echo reply to one of our requests."""
    head = (packet[0] & 15) * 4
    if len(packet) < head + 8:
        return False
    kind, _, _, identifier, _ = struct.unpack_from("!BBHHH", packet, head)
    return kind == _ECHO_REPLY and identifier == _IDENTIFIER


def echo6_request(sequence: int) -> bytes:
    """An ICMPv6 echo request with our identifier; the kernel fills in the checksum (RFC 3542, 3.1)."""
    return struct.pack("!BBHHH", _ECHO6_REQUEST, 0, 0, _IDENTIFIER, sequence) + b"hoverboard"


def is_reply6(message: bytes) -> bool:
    """Whether an ICMPv6 message, as a raw socket gives it, is an echo reply to one of our requests."""
    return len(message) >= 8 and message[0] == _ECHO6_REPLY and struct.unpack_from("!H", message, 4)[0] == _IDENTIFIER


class _Pinger:
    """The pings from one namespace in one family, over one raw socket.

    Attributes:
        socket: receives all ICMP packets of the namespace; other pings may run there, too.
        waiting: names of the targets that have not answered, by address.
    """

    def __init__(self, pid: int, version: int) -> None:
        self.version = version
        with entered(pid):
            if version == 4:
                self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            else:
                self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
                self._link = socket.if_nametoindex(GUEST_DEVICE)
        self.socket.setblocking(False)
        self.waiting: dict[Address, list[str]] = {}

    def send(self, sequence: int) -> None:
        """Send a request to each target that has not answered; a full queue loses it."""
        request = echo_request(sequence) if self.version == 4 else echo6_request(sequence)
        for address in self.waiting:
            link = self._link if address.version == 6 and address.is_link_local else 0
            place = (str(address), 0) if address.version == 4 else (str(address), 0, 0, link)
            with contextlib.suppress(BlockingIOError):
                self.socket.sendto(request, place)

    def receive(self) -> list[str]:
        """Receive one packet: the names of the targets that have answered by it; none for other packets."""
        packet, (sender, *_) = self.socket.recvfrom(2048)
        if not (is_reply(packet) if self.version == 4 else is_reply6(packet)):
            return []
        return self.waiting.pop(ip_address(sender.partition("%")[0]), [])


def wait_answers(
    targets: Mapping[str, tuple[int, Address]],
    timeout: float,
    answered: Callable[[str], None] = lambda name: None,
    interval: float = 0.2,
) -> set[str]:
    """Ping targets until each has answered once.

    Args:
        targets: name -> (pid of a process in the namespace to ping from, address to ping). A link-local address is
            on the link of a VM's NIC.
        timeout: seconds.
        answered: called with the name of each target that answers.
        interval: seconds between pings of the same target.

    Returns:
        Names of the targets that did not answer.
    """
    pingers: dict[tuple[int, int], _Pinger] = {}
    deadline = time.monotonic() + timeout
    poller = select.poll()
    try:
        for name, (pid, address) in targets.items():
            place = (pid, address.version)
            if place not in pingers:
                pingers[place] = _Pinger(*place)
                poller.register(pingers[place].socket, select.POLLIN)
            pingers[place].waiting.setdefault(address, []).append(name)
        by_socket = {pinger.socket.fileno(): pinger for pinger in pingers.values()}
        sequence = 0
        next_round = 0.0
        while by_socket:
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= next_round:
                sequence += 1
                for pinger in by_socket.values():
                    pinger.send(sequence)
                next_round = time.monotonic() + interval
            for fd, _ in poller.poll(max(0.0, min(next_round, deadline) - time.monotonic()) * 1000 + 1):
                pinger = by_socket[fd]
                names = pinger.receive()  # tour: vm 12
                if not pinger.waiting:
                    poller.unregister(fd)
                    del by_socket[fd]
                for name in names:
                    answered(name)
        return {name for pinger in pingers.values() for names in pinger.waiting.values() for name in names}
    finally:
        for pinger in pingers.values():
            pinger.socket.close()


def ping_once(pid: int, addresses: Mapping[str, IPv4Address], timeout: float) -> set[str]:
    """Ping each address once from a namespace, all at the same time.

    Args:
        pid: a process in the namespace.
        addresses: by name.
        timeout: seconds to wait for the answers.

    Returns:
        Names of the addresses that did not answer. One that the namespace has no route to is among them.
    """
    pinger = _Pinger(pid, 4)
    with contextlib.closing(pinger.socket):
        for name, target in addresses.items():
            pinger.waiting.setdefault(target, []).append(name)
        for address in pinger.waiting:
            with contextlib.suppress(OSError):  # no route, or the device is down
                pinger.socket.sendto(echo_request(1), (str(address), 0))
        poller = select.poll()
        poller.register(pinger.socket, select.POLLIN)
        deadline = time.monotonic() + timeout
        while pinger.waiting and (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000):
                with contextlib.suppress(OSError):  # an error of ICMP, such as "host unreachable"
                    pinger.receive()
        return {name for names in pinger.waiting.values() for name in names}
