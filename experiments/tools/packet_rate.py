"""The one way to measure packets per second: small UDP datagrams, counted where they arrive.

A frame of 64 bytes, as data sheets count it, is 14 bytes of Ethernet, 20 of IPv4, 8 of UDP, 18 of
payload and 4 of checksum; the last exist on a wire only, so a VM's NIC sees 60. Nothing here knows
what a VM is: it runs between two network namespaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.tools import tool_pair
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.errors import InputError, MeasurementError

PAYLOAD_OF_64 = 64 - 14 - 20 - 8 - 4

_TOOL = "packet_rate_tool"
_TRAILING_SECONDS = 0.3  # the sender goes on, so that the receiver's window, which begins later, is full
_GRACE_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class PacketRateSpec:
    """What to measure.

    Attributes:
        seconds: how long packets are counted, at either end.
        omit: seconds before that, which are not (flow misses, full queues on the way).
        payload: bytes of UDP payload; PAYLOAD_OF_64 makes frames of 64 bytes.
        flows: source ports, served in turn by 64 packets each.
        rate_pps: packets per second to offer; None: as many as the sender's kernel takes.
    """

    seconds: float = 2.0
    omit: float = 0.3
    payload: int = PAYLOAD_OF_64
    flows: int = 1
    rate_pps: float | None = None

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.omit < 0 or not 0 < self.payload <= 1400 or self.flows < 1:
            raise InputError(
                f"no {self.flows} flows of {self.payload} bytes for {self.seconds:g} s after {self.omit:g} s",
                where="seconds",
                next_step="give a time above 0, a payload of 1 to 1400 bytes and 1 flow or more",
            )
        if self.rate_pps is not None and self.rate_pps <= 0:
            raise InputError(
                f"no packets at {self.rate_pps:g} per second", where="rate_pps", next_step="give a rate above 0"
            )

    @property
    def limit(self) -> float:
        """Seconds after which a run counts as hung."""
        return self.omit + self.seconds + _GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class PacketRateResult:
    """Packets per second.

    Attributes:
        offered_pps: what the sender's kernel took.
        delivered_pps: what the receiving program got.
        dropped_at_socket: packets that reached the receiver's socket and found no room in it.
    """

    offered_pps: float
    delivered_pps: float
    delivered: int
    dropped_at_socket: int


def measure(client: ToolPlace, server: ToolPlace, address: str, spec: PacketRateSpec) -> PacketRateResult:
    """One measurement from `client` to `server` at `address`; lost packets are a result, not an error.

    Raises:
        MeasurementError: an end does not start, fails or hangs, or no packet at all arrives.
    """
    common = {"address": address, "limit": math.ceil(spec.limit) + 1, "omit": spec.omit}
    receiving = tool_pair.command(_TOOL, "receive", seconds=spec.seconds, **common)
    with tool_pair.serving(server, receiving) as receiver:
        sending = tool_pair.command(
            _TOOL, "send", port=receiver.port, seconds=spec.seconds + _TRAILING_SECONDS, size=spec.payload,
            flows=spec.flows, rate=spec.rate_pps, **common,
        )  # fmt: skip
        offered = tool_pair.run(client, sending, spec.limit)
        found = receiver.result(spec.limit)
    if not found["delivered"]:
        raise MeasurementError(
            "no packet arrived in the time that counts",
            where=server.name,
            next_step="ping between the two VMs; if that works, offer fewer packets per second",
        )
    return PacketRateResult(
        offered_pps=float(offered["offered_pps"]),
        delivered_pps=float(found["delivered_pps"]),
        delivered=int(found["delivered"]),
        dropped_at_socket=int(found["dropped_at_socket"]),
    )
