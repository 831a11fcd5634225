"""An OpenFlow flow as plain data: fields, actions, flow. No library, no bytes.

The control plane computes these, its front end turns them into OpenFlow messages and back; two
flows are equal when a switch would treat packets the same. Field names are OXM names as os-ken
and ovs-ofctl know them, values are integers in host order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

IN_PORT = 0xFFFFFFF8  # OFPP_IN_PORT: back out of the port it came in by
CONTROLLER = 0xFFFFFFFD  # OFPP_CONTROLLER: the whole packet, in a packet-in


class Field(NamedTuple):
    """A match or set field: its name and width in bits."""

    name: str
    bits: int


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("in_port", 32),
        Field("metadata", 64),
        Field("tunnel_id", 64),
        Field("tun_ipv4_src", 32),
        Field("tun_ipv4_dst", 32),
        Field("eth_src", 48),
        Field("eth_dst", 48),
        Field("eth_type", 16),
        Field("vlan_vid", 13),  # 0x1000 says that there is a tag
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
        Field("nd_reserved", 32),  # Open vSwitch's: flags of a neighbour advertisement
        Field("nd_options_type", 8),  # Open vSwitch's: type of the option with a link-layer address
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
    """Send out of an OpenFlow port; IN_PORT: back where it came from; CONTROLLER: to whoever programs the switch."""

    port: int


@dataclass(frozen=True, slots=True)
class WriteMetadata:
    """Set the metadata register; ours holds the VNI once a packet is classified."""

    value: int


@dataclass(frozen=True, slots=True)
class Goto:
    """Continue in a later table."""

    table: int


Action = SetField | Move | Output | WriteMetadata | Goto
FlowKey = tuple[int, int, tuple[Match, ...]]  # table, priority, match: what names a flow in a switch


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow: no actions means drop. `match` is sorted by field name."""

    table: int
    priority: int
    match: tuple[Match, ...]
    actions: tuple[Action, ...]
    cookie: int

    @property
    def key(self) -> FlowKey:
        """What identifies the flow inside one switch."""
        return (self.table, self.priority, self.match)
