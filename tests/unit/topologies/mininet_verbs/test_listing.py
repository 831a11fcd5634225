"""What `nodes`, `net`, `links`, `dump` and `intfs` print, and how nodes and links are found."""

from __future__ import annotations

import pytest

from hoverboard.contract.errors import InputError
from tests.unit.topologies.mininet_verbs.wirings import WIRING
from topologies.mininet_verbs import links, listing


def test_nodes() -> None:
    assert list(listing.nodes(WIRING)) == [
        "available nodes are:", "blue-1 blue-2 blue-3 fab h1 h2 hv1 red-1 red-2"
    ]  # fmt: skip


def test_net_names_the_other_end_of_each_interface() -> None:
    shown = list(listing.net(WIRING))
    assert shown[0] == "blue-1 eth0:h1-nic1"
    assert "h1 uplink:fab-to-h1 nic1:blue-1-eth0" in shown
    assert shown[-1] == "fab to-h1:h1-uplink"


def test_intfs() -> None:
    assert "h1: uplink,nic1" in list(listing.intfs(WIRING))


def test_dump_shows_the_address_of_a_nic_and_of_an_uplink_and_none_for_ports() -> None:
    shown = list(listing.dump(WIRING))
    assert shown[0] == "<VirtualMachine blue-1: eth0:10.0.0.2 pid=11 network=blue host=h1>"
    assert "<VMHost h1: uplink:172.16.0.1,nic1:None pid=21>" in shown
    assert shown[-1] == "<Fabric fab: to-h1:None pid=31>"


def test_links_show_the_state_of_both_ends() -> None:
    shown = list(listing.links(WIRING, lambda end: "DOWN" if end["name"] == "to-h1" else "OK"))
    assert shown[:2] == ["h1-uplink<->fab-to-h1 (OK DOWN)", "blue-1-eth0<->h1-nic1 (OK OK)"]


def test_networks_have_their_vms_in_order() -> None:
    found = {name: [vm["name"] for vm in vms] for name, vms in listing.networks(WIRING).items()}
    assert found == {"blue": ["blue-1", "blue-2", "blue-3"], "red": ["red-1", "red-2"]}


def test_a_link_is_found_from_both_sides() -> None:
    assert listing.between(WIRING, "h1", "fab") is listing.between(WIRING, "fab", "h1")


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("blue-1", "h2", "no link between blue-1 and h2\n  -> blue-1 has a link to: h1"),
        ("h1", "h2", "no link between h1 and h2\n  -> h1 has a link to: blue-1 fab"),
        ("blue-1", "nosuch", "there is no node 'nosuch'\n  -> use one of: blue-1"),
    ],
)
def test_a_link_that_is_not_there(one: str, other: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        listing.between(WIRING, one, other)
    assert message in str(caught.value)


def test_up_and_down_are_the_only_states() -> None:
    assert links.up_of("up")
    assert not links.up_of("down")
    with pytest.raises(InputError, match="'sideways' is no state of a link"):
        links.up_of("sideways")
