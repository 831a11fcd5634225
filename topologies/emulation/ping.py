"""Pings from the namespaces of VMs, without a process for each, to find out whether the network works."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

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


def _pinger(pid: int, address: Address) -> socket.socket:
    """A raw socket in the namespace of `pid` that receives only from `address`: other pings may run there, too."""
    with entered(pid):
        if isinstance(address, IPv4Address):
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            place: tuple[str, int] | tuple[str, int, int, int] = (str(address), 0)
        else:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            place = (str(address), 0, 0, socket.if_nametoindex(GUEST_DEVICE) if address.is_link_local else 0)
    try:
        sock.setblocking(False)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


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
    sockets: dict[int, tuple[str, socket.socket, bool]] = {}  # the last: IPv6
    deadline = time.monotonic() + timeout
    poller = select.poll()
    try:
        for name, (pid, address) in targets.items():
            sock = _pinger(pid, address)
            sockets[sock.fileno()] = (name, sock, address.version == 6)
            poller.register(sock, select.POLLIN)
        sequence = 0
        next_round = 0.0
        while sockets:
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= next_round:
                sequence += 1
                for _, sock, six in sockets.values():
                    sock.send(echo6_request(sequence) if six else echo_request(sequence))
                next_round = time.monotonic() + interval
            for fd, _ in poller.poll(max(0.0, min(next_round, deadline) - time.monotonic()) * 1000 + 1):
                name, sock, six = sockets[fd]
                packet = sock.recv(2048)
                if is_reply6(packet) if six else is_reply(packet):  # tour: vm 12
                    poller.unregister(fd)
                    sock.close()
                    del sockets[fd]
                    answered(name)
        return {name for name, _, _ in sockets.values()}
    finally:
        for _, sock, _six in sockets.values():
            sock.close()


def ping_once(pid: int, addresses: Mapping[str, IPv4Address], timeout: float) -> set[str]:
    """Ping each address once from a namespace, all at the same time.

    Args:
        pid: a process in the namespace.
        addresses: by name.
        timeout: seconds to wait for the answers.

    Returns:
        Names of the addresses that did not answer. One that the namespace has no route to is among them.
    """
    silent = set(addresses)
    sockets: dict[int, tuple[str, socket.socket]] = {}
    poller = select.poll()
    try:
        for name, address in addresses.items():
            with contextlib.suppress(OSError):  # no route, or the device is down
                sock = _pinger(pid, address)
                sockets[sock.fileno()] = (name, sock)
                sock.send(echo_request(1))
                poller.register(sock, select.POLLIN)
        deadline = time.monotonic() + timeout
        while silent and (left := deadline - time.monotonic()) > 0:
            for fd, _ in poller.poll(left * 1000):
                name, sock = sockets[fd]
                try:
                    packet = sock.recv(2048)
                except OSError:  # an error of ICMP, such as "host unreachable"
                    poller.unregister(fd)
                    continue
                if is_reply(packet):
                    silent.discard(name)
        return silent
    finally:
        for _, sock in sockets.values():
            sock.close()
