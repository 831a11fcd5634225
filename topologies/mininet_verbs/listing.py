"""The lines of `nodes`, `net`, `links`, `dump` and `intfs`, in Mininet's form. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import LinkEnd, NodeKind, WiredLink, WiredNode, Wiring

# The classes of topologies.emulation.nodes, which Mininet's own `dump` names.
_CLASSES: dict[NodeKind, str] = {
    "vm": "VirtualMachine",
    "host": "VMHost",
    "hoverboard": "HoverboardNode",
    "fabric": "Fabric",
}


def node(wiring: Wiring, name: str) -> WiredNode:
    """The node of this name; InputError when there is none."""
    for one in wiring["nodes"]:
        if one["name"] == name:
            return one
    raise InputError(f"there is no node {name!r}", next_step=f"use one of: {' '.join(names(wiring))}")


def names(wiring: Wiring) -> list[str]:
    """The names of all nodes, sorted."""
    return sorted(one["name"] for one in wiring["nodes"])


def networks(wiring: Wiring) -> dict[str, list[WiredNode]]:
    """The VMs of each virtual network, in the order of the wiring."""
    found: dict[str, list[WiredNode]] = {}
    for one in wiring["nodes"]:
        if "network" in one:
            found.setdefault(one["network"], []).append(one)
    return found


def nodes(wiring: Wiring) -> Iterator[str]:
    """The lines of `nodes`."""
    yield "available nodes are:"
    yield " ".join(names(wiring))


def net(wiring: Wiring) -> Iterator[str]:
    """The lines of `net`: each node, and for each of its interfaces the other end."""
    for one in wiring["nodes"]:
        pairs = (f"{own['name']}:{place(other)}" for own, other in _ends(wiring, one["name"]))
        yield " ".join([one["name"], *pairs])


def intfs(wiring: Wiring) -> Iterator[str]:
    """The lines of `intfs`: each node with the names of its interfaces."""
    for one in wiring["nodes"]:
        yield f"{one['name']}: {','.join(own['name'] for own, _ in _ends(wiring, one['name']))}"


def dump(wiring: Wiring) -> Iterator[str]:
    """The lines of `dump`: class, interfaces with addresses, and pid of each node."""
    for one in wiring["nodes"]:
        # The address is that of a VM's NIC, or of an uplink. The host's end of a NIC has none.
        pairs = (
            f"{own['name']}:{None if 'network' not in one and 'host' in _of(wiring, other) else one.get('ip')}"
            for own, other in _ends(wiring, one["name"])
        )
        where = f" network={one['network']} host={one['host']}" if "network" in one else ""
        yield f"<{_CLASSES[one['kind']]} {one['name']}: {','.join(pairs)} pid={one['pid']}{where}>"


def links(wiring: Wiring, state: Callable[[LinkEnd], str]) -> Iterator[str]:
    """The lines of `links`.

    Args:
        wiring: of the run.
        state: the word for one end, such as OK or DOWN.
    """
    for link in wiring["links"]:
        one, other = link["one"], link["other"]
        yield f"{place(one)}<->{place(other)} ({state(one)} {state(other)})"


def place(end: LinkEnd) -> str:
    """An end of a link as NODE-INTERFACE, as Mininet names interfaces."""
    return f"{end['node']}-{end['name']}"


def between(wiring: Wiring, one: str, other: str) -> WiredLink:
    """The link between two nodes.

    Raises:
        InputError: there is no such node, or no link between them.
    """
    for name in (one, other):
        node(wiring, name)
    near = set()
    for link in wiring["links"]:
        ends = {link["one"]["node"], link["other"]["node"]}
        if ends == {one, other}:
            return link
        if one in ends:
            near |= ends - {one}
    step = f"{one} has a link to: {' '.join(sorted(near))}" if near else "see `links`"
    raise InputError(f"there is no link between {one} and {other}", next_step=step)


def _of(wiring: Wiring, end: LinkEnd) -> WiredNode:
    return node(wiring, end["node"])


def _ends(wiring: Wiring, name: str) -> Iterator[tuple[LinkEnd, LinkEnd]]:
    """The ends of a node's links: its own, and the other."""
    for link in wiring["links"]:
        for own, other in ((link["one"], link["other"]), (link["other"], link["one"])):
            if own["node"] == name:
                yield own, other
