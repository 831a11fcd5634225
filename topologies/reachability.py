"""Real pings out of VMs' namespaces, without a process for each: is the network there yet?"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from topologies.devices import entered

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_IDENTIFIER = 0x4842


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(sequence: int) -> bytes:
    """An ICMP echo request with our identifier."""
    payload = b"hoverboard"
    head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, _IDENTIFIER, sequence)
    checksum = _checksum(head + payload)
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum, _IDENTIFIER, sequence) + payload


def is_reply(packet: bytes) -> bool:
    """Whether an IPv4 packet is an echo reply to one of our requests."""
    head = (packet[0] & 15) * 4
    if len(packet) < head + 8:
        return False
    kind, _, _, identifier, _ = struct.unpack_from("!BBHHH", packet, head)
    return kind == _ECHO_REPLY and identifier == _IDENTIFIER


def wait_answers(
    targets: dict[str, tuple[int, IPv4Address]],
    timeout: float,
    answered: Callable[[str], None] = lambda name: None,
    interval: float = 0.2,
) -> set[str]:
    """Ping until each has answered once; names of those that have not after `timeout` seconds.

    Args:
        targets: name -> (pid in whose namespace the ping starts, address it goes to).
        interval: seconds between pings of the same target.
    """
    sockets: dict[int, tuple[str, socket.socket, IPv4Address]] = {}
    deadline = time.monotonic() + timeout
    poller = select.poll()
    try:
        for name, (pid, address) in targets.items():
            with entered(pid):
                sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            sockets[sock.fileno()] = (name, sock, address)
            sock.setblocking(False)
            # Connected, it hears this address alone: others in the namespace may be pinged as well.
            sock.connect((str(address), 0))
            poller.register(sock, select.POLLIN)
        sequence = 0
        next_round = 0.0
        while sockets:
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= next_round:
                sequence += 1
                for _, sock, address in sockets.values():
                    sock.sendto(echo_request(sequence), (str(address), 0))
                next_round = time.monotonic() + interval
            for fd, _ in poller.poll(max(0.0, min(next_round, deadline) - time.monotonic()) * 1000 + 1):
                name, sock, _address = sockets[fd]
                if is_reply(sock.recv(2048)):
                    poller.unregister(fd)
                    sock.close()
                    del sockets[fd]
                    answered(name)
        return {name for name, _, _ in sockets.values()}
    finally:
        for _, sock, _address in sockets.values():
            sock.close()
