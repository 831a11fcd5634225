"""The interface between VM controllers and OpenFlow front ends: sessions, events, answers.

Controllers reach switches only through it. Its adapters are `ofe.switch_session` (real switches),
`roles.remote_switches` (sessions of another process), and fakes in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from controllers.ofe.messages import PacketIn
from controllers.program import Program
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.flow import Flow


class Deposed(SwitchError):
    """A front end rejected a program: its sender is no longer the master of the partition."""


class SwitchSession(Protocol):
    """One connection to one switch; requests take effect in the order in which they are made.

    Attributes:
        dpid: datapath id of the switch.
    """

    dpid: int

    async def send(self, program: Program) -> None:
        """Apply a program as one atomic change; return when the switch has it.

        Raises:
            SwitchError: the switch rejected it (nothing was applied) or disconnected.
        """
        ...

    async def dump(self) -> list[Flow]:
        """All flows of the switch.

        Raises:
            SwitchError: it did not answer.
        """
        ...

    def packet_out(self, in_port: int, frame: bytes) -> None:
        """Send a packet through the switch's tables as if it came in by `in_port`; lost if the switch disconnects."""
        ...

    def close(self) -> None:
        """End the connection; the switch will reconnect."""
        ...


class SwitchEvents(Protocol):
    """The receiver of switches' events; called from the event loop, must not block."""

    def switch_connected(self, session: SwitchSession, ports: Mapping[str, int]) -> None:
        """Record a new session, with the switch's ports by name."""
        ...

    def switch_disconnected(self, session: SwitchSession) -> None:
        """Record the end of a session."""
        ...

    def port_changed(self, session: SwitchSession, name: str, port: int | None) -> None:
        """Record a new port or port number, or the removal of a port (None)."""
        ...

    def packet_in(self, session: SwitchSession, packet: PacketIn) -> None:
        """Handle a packet that a flow sent to the controller."""
        ...
