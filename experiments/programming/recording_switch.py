"""A switch that only records the programs that `switch_interface.SwitchSession` would send to it.

It stands for switches when a machine cannot run so many. It encodes every message as a front end does.
So the cost of encoding and the bytes are real. The work of the switch itself is missing.
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


class RecordingSwitch:
    """One recording switch.

    Attributes:
        dpid: the datapath id.
        flows: the number of flows it would hold. Exact if every added flow is new.
        bytes: the number of encoded bytes.
        programs: the number of programs.
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
        """The flows of the switch: an empty answer, as a new switch has no flows."""
        return []

    def packet_out(self, in_port: int, frame: bytes) -> None:
        """Do nothing: a recording switch sends no packets."""

    def close(self) -> None:
        """Do nothing: there is no connection to close."""


def total(switches: Iterable[RecordingSwitch]) -> dict[str, int]:
    """The sums over many switches: flows, bytes and programs."""
    recorded = list(switches)
    return {
        "flows": sum(switch.flows for switch in recorded),
        "bytes": sum(switch.bytes for switch in recorded),
        "programs": sum(switch.programs for switch in recorded),
    }
