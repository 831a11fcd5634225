"""A load of new flows between two VMs of one host: each datagram has a new 5-tuple.

Sender and receiver are sockets of this process in the VMs' namespaces. The number of flows in flight is limited: a
switch that gets more than it can answer would only drop them.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from hoverboard.contract.errors import MeasurementError
from topologies.emulation.devices import entered

FIRST_PORT, LAST_PORT = 1024, 65535
_SILENCE = 0.5  # seconds without an arrival after which flows in flight count as lost
_RECEIVE_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The result of a load.

    Attributes:
        sent: flows begun.
        seconds: from the start of the first flow to the last arrival.
        latencies: seconds from a flow's start to its arrival, one for each flow that arrived.
    """

    sent: int
    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        """Forwarded flows a second."""
        return len(self.latencies) / self.seconds


def datagram(src: IPv4Address, dst: IPv4Address, source_port: int, port: int, number: int) -> bytes:
    """An IPv4 packet with a UDP datagram that carries `number`; the kernel fills in the IP checksum."""
    payload = struct.pack("!Q", number)
    udp = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, src.packed, dst.packed)
    return head + udp + payload


@dataclass(frozen=True, slots=True)
class Ends:
    """The sockets of both ends, and their addresses."""

    sender: socket.socket
    receiver: socket.socket
    src: IPv4Address
    dst: IPv4Address


@contextlib.contextmanager
def ends(source_pid: int, src: IPv4Address, target_pid: int, dst: IPv4Address) -> Iterator[Ends]:
    """Sockets in the namespaces of two processes, open inside the block; the receiver has its own port."""
    with contextlib.ExitStack() as stack:
        with entered(source_pid):
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        with entered(target_pid):
            receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        receiver.setblocking(False)
        receiver.bind((str(dst), 0))
        yield Ends(sender, receiver, src, dst)


def drive(both: Ends, seconds: float, window: int) -> Arrivals:
    """Begin new flows for `seconds`, at most `window` of them in flight, and wait for the last ones.

    One port of the receiver allows LAST_PORT - FIRST_PORT + 1 flows; the load ends when all are used.

    Raises:
        MeasurementError: no flow arrived.
    """
    port, target = both.receiver.getsockname()[1], (str(both.dst), 0)
    started: dict[int, float] = {}
    latencies: list[float] = []
    sent, most = 0, LAST_PORT - FIRST_PORT + 1
    begun = last = time.monotonic()
    while True:
        now = time.monotonic()
        going_on = now - begun < seconds and sent < most
        while going_on and len(started) < window and sent < most:
            packet = datagram(both.src, both.dst, FIRST_PORT + sent, port, sent)
            started[sent] = time.monotonic()
            both.sender.sendto(packet, target)
            sent += 1
        if not started:
            break
        if not select.select([both.receiver], [], [], _SILENCE)[0]:
            started.clear()  # lost
            continue
        with contextlib.suppress(BlockingIOError):
            while True:
                number = struct.unpack("!Q", both.receiver.recv(64))[0]
                last = time.monotonic()
                if (start := started.pop(number, None)) is not None:
                    latencies.append(last - start)
    if not latencies:
        raise MeasurementError(
            f"none of {sent} new flows was forwarded", next_step="bring two-hosts up, and ping between VMs of one host"
        )
    return Arrivals(sent, last - begun, latencies)
