"""`link A B up|down`, and the state of a link's ends.

The link of a VM is its NIC: it goes down in the VM, as if you typed `ip link set eth0 down` there. The link of a
host or a Hoverboard is its port on the fabric.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError
from topologies.emulation import link_state
from topologies.mininet_verbs import listing

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import LinkEnd, Wiring


def up_of(status: str) -> bool:
    """Whether a status that a user typed is "up"; InputError when it is neither "up" nor "down"."""
    if status not in ("up", "down"):
        raise InputError(f"{status!r} is no state of a link", next_step="give up or down")
    return status == "up"


def set_link(wiring: Wiring, one: str, other: str, up: bool) -> None:
    """Set the link between two nodes up or down; a VM that is set up has its routes again.

    Raises:
        InputError: there is no such node, or no link between them.
        RunError: a device is gone.
    """
    link = listing.between(wiring, one, other)
    ends = {listing.node(wiring, end["node"])["kind"]: end for end in (link["one"], link["other"])}
    end = ends["vm"] if "vm" in ends else ends["fabric"]
    node = listing.node(wiring, end["node"])
    link_state.set_up(node["pid"], end["name"], up)
    if up and node["kind"] == "vm":
        link_state.wait_route(node["pid"])


def state_of(wiring: Wiring) -> Callable[[LinkEnd], str]:
    """A function that gives the word for an end: OK, DOWN or MISSING. An end without a device is always OK."""
    pids = {node["name"]: node["pid"] for node in wiring["nodes"]}

    def state(end: LinkEnd) -> str:
        if not end["device"]:
            return link_state.UP
        return link_state.word(pids[end["node"]], end["name"])

    return state
