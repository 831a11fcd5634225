"""`NODE CMD`: names become addresses, and a name of another network is told about."""

from __future__ import annotations

import pytest

from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.mininet_verbs import listing
from topologies.mininet_verbs.node_command import replace_names


@pytest.mark.parametrize(
    ("node", "text", "replaced"),
    [
        ("blue-1", "ping -c 1 blue-2", "ping -c 1 10.0.0.3"),
        ("blue-1", "ping  blue-2 | tail -1", "ping  10.0.0.3 | tail -1"),
        ("blue-1", "echo 'blue-2' my-blue-2 blue-2x", "echo 'blue-2' my-blue-2 blue-2x"),
        ("blue-1", "blue-2 blue-2", "blue-2 10.0.0.3"),  # the first word is the command
        ("blue-1", "ping h1", "ping h1"),  # a VM does not reach the underlay
        ("h1", "ping h2", "ping 172.16.0.2"),
        ("fab", "ping hv1", "ping 172.16.255.1"),
    ],
)
def test_names_become_addresses(node: str, text: str, replaced: str) -> None:
    found = replace_names(WIRING, listing.node(WIRING, node), text)
    assert (found.text, found.notes) == (replaced, [])


@pytest.mark.parametrize(
    ("node", "named", "note"),
    [
        ("blue-2", "red-1", "red-1 has 10.0.0.2 in network red; in network blue, where blue-2 is, "
                            "that address is blue-1"),
        ("blue-1", "red-2", "red-2 has 10.0.0.9 in network red; in network blue, where blue-1 is, "
                            "nobody has that address"),
        ("h1", "blue-1", "blue-1 has 10.0.0.2 in network blue, and h1 is in no virtual network"),
    ],
)  # fmt: skip
def test_a_name_of_another_network_is_told_about(node: str, named: str, note: str) -> None:
    assert replace_names(WIRING, listing.node(WIRING, node), f"ping {named} {named}").notes == [note]
