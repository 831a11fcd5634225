"""A switch that only records: what `switch_interface.SwitchSession` sends, encoded as a front end encodes it.

For more switches than a machine can run. Every message is really made, so that its cost is paid and
its bytes are counted; what a switch would do with them is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from controllers.ofe import openflow
from controllers.ofe.templates import FlowModEncoder
from controllers.program import Program
from hoverboard.contract.openflow.flow import Flow

_CONTROL = sum(
    len(message)
    for message in (
        openflow.bundle_open(1, 1), openflow.barrier_request(2),
        openflow.bundle_commit(3, 1), openflow.barrier_request(4),
    )
)  # fmt: skip


class Sink:
    """One recorded switch.

    Attributes:
        flows: how many it would hold; exact as long as every flow added is new to it.
        bytes: that were encoded for it.
        programs: that it got.
    """

    __slots__ = ("_encoder", "bytes", "dpid", "flows", "programs")

    def __init__(self, dpid: int, encoder: FlowModEncoder) -> None:
        self.dpid = dpid
        self._encoder = encoder
        self.flows = 0
        self.bytes = 0
        self.programs = 0

    async def send(self, program: Program) -> None:
        """Encode the program as one bundle and count it."""
        size = messages = 0
        for raw, count in self._encoder.bundle(program, 1, 1):
            size += len(raw)
            messages += count
        self.bytes += size + _CONTROL
        self.flows += messages - 2 * len(program.deletes)
        self.programs += 1

    async def dump(self) -> list[Flow]:
        """A new switch is empty."""
        return []

    def packet_out(self, in_port: int, frame: bytes) -> None:
        """Nothing goes out of a record."""

    def close(self) -> None:
        """Nothing to end."""


def total(sinks: Iterable[Sink]) -> dict[str, int]:
    """Over many switches."""
    recorded = list(sinks)
    return {
        "flows": sum(sink.flows for sink in recorded),
        "bytes": sum(sink.bytes for sink in recorded),
        "programs": sum(sink.programs for sink in recorded),
    }
