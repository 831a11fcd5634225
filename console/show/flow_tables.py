"""The flow table of a node, and what a reader needs to know about it (`hoverboard flows NODE`). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.show.tables import or_dash, table
from hoverboard.contract.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from hoverboard.contract import node_documents as nodes

_PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmpv6", 132: "sctp"}


def protocol(number: int | None) -> str:
    """The name of an IP protocol; its number if it has no short name here."""
    return "-" if number is None else _PROTOCOLS.get(number, str(number))


def entries(document: nodes.Flows) -> Table:
    """The flow table of a node. Entries with most bytes come first."""
    rows = sorted(document["entries"], key=lambda entry: -int(entry["bytes"]))
    return table(
        f"flow table of {document['node']}: {counted(len(rows), 'entry', 'entries')}",
        ("VNI", "from", "source", "destination", "protocol", "ports", "kind", "via", "#packets", "#bytes"),
        (
            (
                or_dash(entry["vni"]), _sender(entry), or_dash(entry["src"]), or_dash(entry["dst"]), _protocol(entry),
                or_dash(entry["ports"]), _kind(entry), or_dash(entry["via"]), entry["packets"], entry["bytes"],
            )
            for entry in rows
        ),
    )  # fmt: skip


def _sender(entry: nodes.Entry) -> str:
    """The VM, or the host at the other end of the tunnel, that an entry's packets come from."""
    return entry["sender"] or entry["from"]


def _protocol(entry: nodes.Entry) -> str:
    """The protocol, and what else tells the entry apart."""
    return f"{protocol(entry['proto'])}{f', {more}' if (more := entry['more']) else ''}"


def _kind(entry: nodes.Entry) -> str:
    kind = str(or_dash(entry["kind"])) + (f": {cause}" if (cause := entry.get("cause")) else "")
    return kind if entry["now"] else f"{kind} (before)"


def notes(document: nodes.Flows) -> Iterator[str]:
    """Lines that a reader of the tables of this node needs; none that does not apply."""
    if not all(entry["now"] for entry in document["entries"]):
        yield "(before): what an entry carried under an earlier answer of the switch."
    if not document["openflow_counts"]:
        yield (
            "n_packets below stays 0: Open vSwitch decides here, and does not carry the packets. "
            "The table above counts what each entry carried."
        )
    if document["openflow"]:
        yield "After # stands the cookie of the flow in words."
