"""The messages of switches as plain data: the meaning of their OpenFlow messages.

No library, and no bytes except those that are sent back unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from hoverboard.contract.openflow.flow import Flow


@dataclass(frozen=True, slots=True)
class Hello:
    """The switch's OpenFlow version (in the header) and the versions it offers."""

    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """A request to answer with the same data."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EchoReply:
    """The switch is alive."""


@dataclass(frozen=True, slots=True)
class Features:
    """The switch's identity."""

    dpid: int


@dataclass(frozen=True, slots=True)
class Ports:
    """A part of the port description; `more`: further parts follow."""

    ports: tuple[tuple[str, int], ...]
    more: bool


@dataclass(frozen=True, slots=True)
class PortStatus:
    """A port was added or changed (its number), or removed (None)."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ForeignFlow:
    """A flow that our flow type cannot express: its description, and the flow-mod that deletes exactly this flow."""

    text: str
    delete: bytes


@dataclass(frozen=True, slots=True)
class Flows:
    """A part of the flow table; `more`: further parts follow."""

    flows: tuple[Flow, ...]
    foreign: tuple[ForeignFlow, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before the barrier is done."""


@dataclass(frozen=True, slots=True)
class BundleReply:
    """The answer to opening or committing a bundle."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason of an OFPT_ERROR, in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A packet that a flow sent to the controller.

    Attributes:
        in_port: the port on which the switch received it.
        cookie: the cookie of that flow.
        frame: the whole packet.
    """

    in_port: int
    cookie: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Other:
    """A message that a front end does not use."""

    type: int


SwitchMessage = (
    Hello
    | EchoRequest
    | EchoReply
    | Features
    | Ports
    | PortStatus
    | Flows
    | Barrier
    | BundleReply
    | Rejection
    | PacketIn
    | Other
)
