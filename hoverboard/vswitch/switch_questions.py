"""Asks a switch what its OpenFlow tables do with a packet: the port, and its adapter for Open vSwitch.

Code that makes flow-table entries or follows routes asks through this port, and needs no switch in its tests.
"""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from hoverboard.contract.openflow.pipeline import BRIDGE
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.packetout import PacketOut
from hoverboard.vswitch.trace import TraceResult, parse_trace


class SwitchQuestions(Protocol):
    """A switch that answers for single packets. Adapters: OvsQuestions and, in tests, FakeQuestions."""

    def trace(self, packet: str) -> TraceResult:
        """The tables' actions for a packet, which is not sent.

        Args:
            packet: its headers as `ofproto/trace` reads them.

        Raises:
            SwitchError: the switch does not answer.
            ValueError: the answer cannot be parsed.
        """

    def look_up(self, in_port: int, frame: bytes) -> bool:
        """Send a frame through the tables, as if it came in by an OpenFlow port; False: the switch did not take it."""


class OvsQuestions(SwitchQuestions):
    """Asks a running Open vSwitch, by `ofproto/trace` and packet-out."""

    def __init__(self, switch: Ovs) -> None:
        self._switch = switch
        self._packet_out = PacketOut(switch.management.removeprefix("unix:"))

    @override
    def trace(self, packet: str) -> TraceResult:
        return parse_trace(self._switch.appctl("ofproto/trace", BRIDGE, packet))  # tour: miss 5

    @override
    def look_up(self, in_port: int, frame: bytes) -> bool:
        return self._packet_out.send(in_port, frame)

    def close(self) -> None:
        """Close the packet-out connection."""
        self._packet_out.close()
