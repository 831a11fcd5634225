"""Asking a switch what its OpenFlow tables do with a packet: the port, and its adapter for Open vSwitch.

Whoever makes flow-table entries, or follows routes, asks through this port and needs no switch in its tests.
"""

from __future__ import annotations

from typing import Protocol

from hoverboard.contract.openflow.pipeline import BRIDGE
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.packetout import PacketOut
from hoverboard.vswitch.trace import TraceResult, parse_trace


class SwitchQuestions(Protocol):
    """A switch that answers for single packets. The adapters are OvsQuestions and, in tests, FakeQuestions."""

    def trace(self, packet: str) -> TraceResult:
        """What the tables do with a packet, which stays where it is.

        Args:
            packet: its headers in the words of `ofproto/trace`.

        Raises:
            SwitchError: the switch does not answer.
            ValueError: the answer makes no sense.
        """

    def look_up(self, in_port: int, frame: bytes) -> bool:
        """Send a frame through the tables, as if it had come in by an OpenFlow port; False: the switch took it not."""


class OvsQuestions:
    """Asks a running Open vSwitch: `ofproto/trace`, and packet-out."""

    def __init__(self, switch: Ovs) -> None:
        self._switch = switch
        self._packet_out = PacketOut(switch.management.removeprefix("unix:"))

    def trace(self, packet: str) -> TraceResult:
        """See SwitchQuestions."""
        return parse_trace(self._switch.appctl("ofproto/trace", BRIDGE, packet))  # tour: miss 5

    def look_up(self, in_port: int, frame: bytes) -> bool:
        """See SwitchQuestions."""
        return self._packet_out.send(in_port, frame)

    def close(self) -> None:
        """End the connection that frames go by."""
        self._packet_out.close()
