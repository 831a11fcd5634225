"""The key of a flow-table entry in words: what tells two entries of one pair of addresses apart. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hoverboard.contract.openflow.pipeline import PROTO_ICMP, PROTO_ICMPV6
from hoverboard.contract.packets import mac_text
from hoverboard.fastpath.packets.flow_table import Key
from hoverboard.fastpath.packets.parse import (
    ECN_SHIFT,
    ETH_IPV4,
    ETH_IPV6,
    FIVE_TUPLE,
    FRAG_SHIFT,
    PORT_SHIFT,
    PROTO_SHIFT,
    TYPE_SHIFT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hoverboard.contract.node_documents import FlowKey

_ECN = ("", "ECN(1)", "ECN(0)", "ECN CE")  # RFC 3168
_FRAGMENTS = ("", "first fragment", "later fragments", "")
_MAC = (1 << 48) - 1


def ports(key: Key) -> str | None:
    """The transport ports or the ICMP type of an entry that is for these alone; None for another entry."""
    if not key[0] & FIVE_TUPLE:
        return None
    first, second = key[2] >> 48 & 0xFFFF, key[3] >> 48 & 0xFFFF
    if key[0] >> PROTO_SHIFT & 0xFF in (PROTO_ICMP, PROTO_ICMPV6):
        return f"type {first} code {second}" if second else f"type {first}"
    return f"{first} > {second}"


def tunnel_sender(key: Key) -> str | None:
    """The underlay address of the host that an entry's packets come from; None if they come from a VM here."""
    return str(IPv4Address(key[1] >> 32 & 0xFFFFFFFF)) if key[1] else None


def more(key: Key) -> str | None:
    """Ethernet type, ECN bits and fragments, if they are not those of an ordinary IP packet."""
    kind, word = key[0] >> TYPE_SHIFT & 0xFFFF, key[0]
    parts = [
        "" if kind in (ETH_IPV4, ETH_IPV6) else f"Ethernet type {kind:#06x}",
        _ECN[word >> ECN_SHIFT & 3],
        _FRAGMENTS[word >> FRAG_SHIFT & 3],
    ]
    return ", ".join(part for part in parts if part) or None


def tell_apart(rows: Iterable[tuple[Key, FlowKey]]) -> None:
    """Add in_port and MACs to `more` of those rows that would look the same without them."""
    alike: dict[tuple[object, ...], list[tuple[Key, FlowKey]]] = {}
    for key, row in rows:
        shown = tuple(row[name] for name in ("vni", "src", "dst", "proto", "ports", "sender", "more"))
        alike.setdefault(shown, []).append((key, row))
    for group in alike.values():
        if len({key for key, _row in group}) < 2:
            continue
        for key, row in group:
            macs = f"port {key[0] >> PORT_SHIFT & 0xFFFF}, {mac_text(key[2] & _MAC)} > {mac_text(key[3] & _MAC)}"
            row["more"] = f"{row['more']}, {macs}" if row["more"] else macs
