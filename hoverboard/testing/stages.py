"""Helpers for tests of a coprocessor stage: a context, packets, and a clock that the test sets."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from hoverboard.coprocessor.stage import PLAIN_VNET, Direction, Packet, StageContext

HERE, THERE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
BEGIN = 1_000_003.0  # seconds of the clock


class Clock:
    """A clock that the test sets, as monotonic and as boot clock.

    Attributes:
        now: seconds.
        slept: nanoseconds for which the machine slept; only the boot clock goes on then.
    """

    def __init__(self) -> None:
        self.now = BEGIN
        self.slept = 0

    def __call__(self) -> float:
        """The monotonic time in seconds."""
        return self.now

    def boot(self) -> int:
        """Nanoseconds since the machine has booted."""
        return self.slept + int(self.now * 1e9)


def context(clock: Clock | None = None, *, local: IPv4Address = HERE, number: int = 1, **more: Any) -> StageContext:
    """The context of a stage of VM web-1 on host h1.

    Args:
        clock: the stage's clock; default: a new one.
        local: underlay address of the host.
        number: of the VM on its host.
        more: other attributes of `StageContext`.
    """
    clock = clock or Clock()
    given: dict[str, Any] = {
        "vm": "web-1", "host": "h1", "local": local, "number": number, "secret": b"a secret of sixteen or more bytes",
        "clock": clock, "boot_clock": clock.boot, **more,
    }  # fmt: skip
    return StageContext(**given)


def packet(
    frame: bytes,
    direction: Direction = "egress",
    *,
    peer: IPv4Address | None = THERE,
    chain: int = 0,
    ticket: Any = None,
    vnet: bytes = PLAIN_VNET,
    vni: int = 7,
) -> Packet:
    """A packet on its way through a chain of stages.

    Args:
        frame: inner Ethernet frame, without FCS.
        direction: "egress" or "ingress".
        peer: underlay address of the other host; None: it is not known.
        chain: number of the chain of stages in its flow-table entry.
        ticket: data that the source needs when the packet comes back; stages do not use it.
        vnet: its virtio-net header, 12 bytes.
        vni: virtual network, 24 bits.
    """
    return Packet(bytearray(frame), vnet=vnet, direction=direction, vni=vni, peer=peer, chain=chain, ticket=ticket)
