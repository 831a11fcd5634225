"""Measures packets per second between two network namespaces: small UDP datagrams, counted where they arrive.

A frame of 64 bytes has 18 bytes of payload, as in data sheets. The other bytes are Ethernet (14), IPv4 (20),
UDP (8) and the checksum (4). The checksum exists on a wire only, so a VM's NIC sees 60 bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.tools import tool_pair
from experiments.tools.tool_processes import ToolPlace
from hoverboard.contract.errors import InputError, MeasurementError

PAYLOAD_OF_64 = 64 - 14 - 20 - 8 - 4

_TOOL = "packet_rate_tool"
_TRAILING_SECONDS = 0.3  # the sender ends later, because the receiver's window begins later
_GRACE_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class PacketRateSpec:
    """The settings of a measurement.

    Attributes:
        seconds: the time in which packets are counted, at each end.
        omit: seconds before it that do not count (flow misses, full queues).
        payload: bytes of UDP payload; PAYLOAD_OF_64 makes frames of 64 bytes.
        flows: the number of source ports; the sender uses them in turn, 64 packets each.
        rate_pps: packets per second to offer; None: as many as the sender's kernel accepts.
    """

    seconds: float = 2.0
    omit: float = 0.3
    payload: int = PAYLOAD_OF_64
    flows: int = 1
    rate_pps: float | None = None

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.omit < 0 or not 0 < self.payload <= 1400 or self.flows < 1:
            raise InputError(
                f"cannot send {self.flows} flows of {self.payload} bytes for {self.seconds:g} s after {self.omit:g} s",
                where="seconds",
                next_step="give a time above 0, a payload of 1 to 1400 bytes and 1 flow or more",
            )
        if self.rate_pps is not None and self.rate_pps <= 0:
            raise InputError(
                f"cannot send packets at {self.rate_pps:g} per second",
                where="rate_pps",
                next_step="give a rate above 0",
            )

    @property
    def limit(self) -> float:
        """The seconds after which a run counts as hung."""
        return self.omit + self.seconds + _GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class PacketRateResult:
    """The result of a measurement.

    Attributes:
        offered_pps: packets per second that the sender's kernel accepted.
        delivered_pps: packets per second that the receiving program got.
        delivered: packets that the receiving program got.
        dropped_at_socket: packets that the receiver's full socket dropped.
    """

    offered_pps: float
    delivered_pps: float
    delivered: int
    dropped_at_socket: int


def measure(client: ToolPlace, server: ToolPlace, address: str, spec: PacketRateSpec) -> PacketRateResult:
    """Measure once from `client` to `server` at `address`. Lost packets are a result, not an error.

    Raises:
        MeasurementError: one end does not start, fails or hangs, or no packet arrives.
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
