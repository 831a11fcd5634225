"""A namespace with two taps that a link joins, and what is measured through them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator

from benchmarks.harness.pauses import pause
from benchmarks.link_element.frame_generator import ETHER_TYPE, SLICE, Generator, frame, number_of
from benchmarks.link_element.link_bars import DELAY
from experiments.tools.bare_namespaces import Namespace
from hoverboard.contract.encapsulation import FABRIC_MTU
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.fastpath.link.link_thread import LinkThread
from topologies.emulation import devices

RATE = 1e9  # bit/s
_TIMEOUT = 2.0
_SNDBUF = 1 << 22
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class Rig:
    """A namespace with two taps that a link joins, and a packet socket on each.

    Args:
        place: the namespace.
        name: a short word that no other rig of the namespace has.
    """

    def __init__(self, place: Namespace, name: str = "") -> None:
        self._place = place
        self.names = (f"near{name}", f"far{name}")
        self.fds = []
        with devices.netlink(place.pid) as route:
            devices.disable_ipv6()
            for device in self.names:
                self.fds.append(devices.open_tap(device, (0,)))
                devices.deepen(route, device)
                route.link("set", index=devices.index(route, device), mtu=FABRIC_MTU, state="up")

    def socket(self, device: str, *, reads: bool) -> socket.socket:
        """A packet socket on one of the devices; `reads`: it gets the frames of this benchmark."""
        with devices.entered(self._place.pid):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHER_TYPE) if reads else 0)
        sock.bind((device, ETHER_TYPE if reads else 0))
        sock.setsockopt(
            socket.SOL_SOCKET, _SO_RCVBUFFORCE if reads else socket.SO_SNDBUF, 1 << 26 if reads else _SNDBUF
        )
        sock.settimeout(_TIMEOUT)
        return sock

    def link(self, properties: LinkProperties) -> LinkThread:
        """A thread that serves the link, with copies of the descriptors."""
        made = LinkThread(os.dup(self.fds[0]), os.dup(self.fds[1]))
        made.set_properties(properties)
        made.start()
        return made

    def close(self) -> None:
        """Close the descriptors of the taps."""
        for fd in self.fds:
            os.close(fd)


@contextlib.contextmanager
def rigs(count: int) -> Iterator[list[Rig]]:
    """So many rigs in one namespace."""
    place = Namespace("link")
    made: list[Rig] = []
    try:
        made += [Rig(place, str(number)) for number in range(count)]
        yield made
    finally:
        for rig in made:
            rig.close()
        place.close()


def one_way(rig: Rig, count: int, gap: float) -> list[float]:
    """Seconds from send to receive of packets that are alone in the link.

    Args:
        rig: the rig, which has a link.
        count: how many.
        gap: seconds between two packets.
    """
    found = []
    with rig.socket(rig.names[0], reads=False) as near, rig.socket(rig.names[1], reads=True) as far:
        for number in range(count):
            begin = time.perf_counter()
            near.send(frame(number, 100))
            far.recv(2048)
            found.append(time.perf_counter() - begin)
            pause(gap)
    return found


def numbers(rig: Rig, count: int) -> list[int]:
    """The numbers of the packets that arrive, in this order, of `count` packets that are sent."""
    found: list[int] = []
    with rig.socket(rig.names[0], reads=False) as near, rig.socket(rig.names[1], reads=True) as far:
        far.setblocking(False)

        def receive() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(number_of(far.recv(64)))

        for number in range(count):
            near.send(frame(number, 60))
            if number % 256 == 255:  # fewer than the tap holds
                pause(SLICE)
                receive()
        last, end = -1, time.perf_counter() + _TIMEOUT
        while len(found) != last or time.perf_counter() < end:
            last = len(found)
            pause(0.1)
            receive()
    return found


def under_load(rig: Rig, size: int, seconds: float) -> dict[str, float]:
    """CPU time (cores) and the part of the packets that arrived, at RATE with frames of `size` bytes."""
    link = rig.link(LinkProperties(delay=DELAY))
    try:
        with rig.socket(rig.names[0], reads=False) as near:
            generator = Generator(near, size)
            generator.run(RATE / 8 / size, 0.2)
            pause(5 * DELAY)
            begin, before, cpu = time.perf_counter(), link.counters()[0], link.cpu_seconds()
            sent = generator.run(RATE / 8 / size, seconds)
            passed, spent = time.perf_counter() - begin, link.cpu_seconds() - cpu
            pause(5 * DELAY)
            arrived = link.counters()[0]["sent"] - before["sent"]
    finally:
        link.close()
    return {"cores": spent / passed, "gbps": sent * size * 8 / passed / 1e9, "arrived": arrived / max(1, sent)}
