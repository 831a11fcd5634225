"""An OpenFlow flow as plain data: fields, actions, flow. No library, no bytes.

The control plane computes flows; its front end converts them to OpenFlow messages and back. Two flows are equal if a
switch treats packets the same by both. Field names are OXM names as os-ken and ovs-ofctl use them; values are integers
in host order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

IN_PORT = 0xFFFFFFF8  # OFPP_IN_PORT: out of the port by which the packet came in
CONTROLLER = 0xFFFFFFFD  # OFPP_CONTROLLER: the whole packet, in a packet-in


class Field(NamedTuple):
    """A match or set field: its name and width in bits."""

    name: str
    bits: int


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("in_port", 32),
        # Holds the VNI once a packet is classified. Flows write it by set-field, which Open vSwitch allows: ovs-ofctl
        # speaks OpenFlow 1.0 without an option, and cannot list there a flow with write-metadata and goto.
        Field("metadata", 64),
        Field("tunnel_id", 64),
        Field("tun_ipv4_src", 32),
        Field("tun_ipv4_dst", 32),
        Field("eth_src", 48),
        Field("eth_dst", 48),
        Field("eth_type", 16),
        Field("vlan_vid", 13),  # 0x1000: a tag is present
        Field("ip_proto", 8),
        Field("tcp_src", 16),
        Field("tcp_dst", 16),
        Field("udp_src", 16),
        Field("udp_dst", 16),
        Field("ipv4_src", 32),
        Field("ipv4_dst", 32),
        Field("icmpv4_type", 8),
        Field("ipv6_src", 128),
        Field("ipv6_dst", 128),
        Field("icmpv6_type", 8),
        Field("icmpv6_code", 8),
        Field("ipv6_nd_target", 128),
        Field("ipv6_nd_tll", 48),
        Field("nd_reserved", 32),  # Open vSwitch's own field: flags of a neighbour advertisement
        Field("nd_options_type", 8),  # Open vSwitch's own field: type of the option with a link-layer address
        Field("arp_op", 16),
        Field("arp_spa", 32),
        Field("arp_tpa", 32),
        Field("arp_sha", 48),
        Field("arp_tha", 48),
        Field("reg5", 32),
        Field("xxreg1", 128),
    )
}


class Match(NamedTuple):
    """One match field; `mask` is None for an exact match."""

    field: str
    value: int
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class SetField:
    """Write a constant into a header or tunnel field."""

    field: str
    value: int


@dataclass(frozen=True, slots=True)
class Move:
    """Copy a whole field into another of the same width (Nicira extension, NXAST_REG_MOVE)."""

    src: str
    dst: str


@dataclass(frozen=True, slots=True)
class Output:
    """Send out of an OpenFlow port. IN_PORT: where it came in; CONTROLLER: to the controller, as a packet-in."""

    port: int


@dataclass(frozen=True, slots=True)
class Goto:
    """Continue in a later table."""

    table: int


Action = SetField | Move | Output | Goto
FlowKey = tuple[int, int, tuple[Match, ...]]  # table, priority, match: the identity of a flow in a switch


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow; without actions it drops. `match` is sorted by field name."""

    table: int
    priority: int
    match: tuple[Match, ...]
    actions: tuple[Action, ...]
    cookie: int

    @property
    def key(self) -> FlowKey:
        """The flow's identity inside one switch."""
        return (self.table, self.priority, self.match)
