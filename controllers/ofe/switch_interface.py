"""The narrow port between VM controllers and OpenFlow front ends: sessions, events, answers.

Controllers see switches only through this; the adapters are `ofe.openflow` (real switches) and
`controllers.testing` (tables in memory).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from controllers.ofe.messages import PacketIn
from controllers.program import Program
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.flow import Flow


class Deposed(SwitchError):
    """A front end refused a program: its sender is not the master of the partition any more."""


class SwitchSession(Protocol):
    """One connection to one switch; everything on it happens in the order it was asked for.

    Attributes:
        dpid: datapath id of the switch.
    """

    dpid: int

    async def send(self, program: Program) -> None:
        """Apply a program as one atomic change and return when the switch has it.

        Raises:
            SwitchError: the switch refused it (nothing was applied) or went away.
        """
        ...

    async def dump(self) -> list[Flow]:
        """All flows of the switch.

        Raises:
            SwitchError: it did not answer.
        """
        ...

    def packet_out(self, in_port: int, frame: bytes) -> None:
        """Send a packet through the switch's tables as if it had come in by `in_port`; lost if it went away."""
        ...

    def close(self) -> None:
        """End the connection; the switch will connect again."""
        ...


class SwitchEvents(Protocol):
    """Who listens to switches; called from the event loop, must not block."""

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        """A switch is there; its ports by name."""
        ...

    def switch_disconnected(self, session: SwitchSession) -> None:
        """That session is over."""
        ...

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        """A port came or changed its number, or went (None)."""
        ...

    def packet_in(self, session: SwitchSession, packet: PacketIn) -> None:
        """A flow sent a packet to the controller."""
        ...
