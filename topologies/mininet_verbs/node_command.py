"""`NODE CMD`: names of nodes in a command become addresses, as in Mininet. Pure.

A VM's address has a meaning in its own virtual network only. A note says where a name stands for an address of another
network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoverboard.contract.node_documents import WiredNode, Wiring


@dataclass(frozen=True, slots=True)
class Replaced:
    """A command with addresses for names, and notes on them."""

    text: str
    notes: list[str]


def replace_names(wiring: Wiring, node: WiredNode, text: str) -> Replaced:
    """Replace each word that is a name by the address of its node.

    In a VM, names of VMs count; in a host, a Hoverboard or the fabric, those of hosts and Hoverboards do, too. A word
    inside quotation marks stays.

    Args:
        wiring: of the run.
        node: where the command runs.
        text: the command, as it was typed.
    """
    in_vm = node["kind"] == "vm"
    known = {one["name"]: one for one in wiring["nodes"] if "ip" in one and (one["kind"] == "vm" or not in_vm)}
    notes: list[str] = []
    words = re.split(r"(\s+)", text)
    for index, word in enumerate(words):
        if index and word in known:  # the first word is the command
            words[index] = known[word]["ip"]
            notes += _note(wiring, node, known[word])
    return Replaced("".join(words), list(dict.fromkeys(notes)))


def _note(wiring: Wiring, node: WiredNode, named: WiredNode) -> list[str]:
    """A note on a name whose address is that of another VM here, or of none; empty if the name is right here."""
    if named["kind"] != "vm" or named.get("network") == node.get("network"):
        return []
    text = f"{named['name']} has {named['ip']} in network {named['network']}"
    if "network" not in node:
        return [f"{text}, and {node['name']} is in no virtual network"]
    others = [one for one in wiring["nodes"] if one.get("network") == node["network"] and one["ip"] == named["ip"]]
    here = f"that address is {others[0]['name']}" if others else "nobody has that address"
    return [f"{text}; in network {node['network']}, where {node['name']} is, {here}"]
