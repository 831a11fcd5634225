"""Hosts and Hoverboards that come and change, and networks that reach a host and leave it."""

from __future__ import annotations

import pytest

from controllers.testing.world import host, hoverboard, network, place, ready, route, vm
from controllers.vmc.view.facts import Sync
from hoverboard.contract.entities import Host, Hoverboard
from tests.unit.controllers.vmc.node_world import B1, B2, B3, LB, RULE, check, dpid_of, moved

# --- a network reaches a host, and leaves it ----------------------------------------------------------


@pytest.mark.parametrize("model", ["hoverboard", "preprogrammed", "on-demand"])
def test_a_host_that_gets_its_first_vm_of_a_network_gets_its_firewall_and_load_balancers(model: str) -> None:
    world = ready(model, hosts=3)
    place(world, B1)
    world.diff([RULE, LB])
    place(world, B2)
    check(world)
    place(world, B3)
    world.diff(remove=[("VM", "b2")])
    check(world)


def test_a_firewall_goes_with_its_network() -> None:
    world = ready()
    before = world.tables()
    world.diff([RULE, network("green")[0].model_copy(update={"ingress": "deny"})])
    world.diff([B2])
    gone = [("FirewallRule", "f"), ("VM", "b2"), ("Subnetwork", "blue-sub"), ("Network", "blue")]
    world.diff([network("green")[0]], gone)
    world.diff(network("blue"))
    assert world.tables() == before


# --- nodes come, change and go ------------------------------------------------------------------------


def test_a_node_that_is_there_before_its_entity_is_read_when_that_comes() -> None:
    world = ready()
    world.connect(host(3), {"vp-b3": 150})
    world.hello("h3", {"b3": "vp-b3"})
    assert world.tables()["h3"] == {}
    world.diff([host(3), B3])
    assert world.core.view.ports["b3"] == 150
    check(world)


@pytest.mark.parametrize("model", ["hoverboard", "preprogrammed"])
def test_a_host_at_another_address_keeps_its_flows_and_is_read_at_its_new_switch(model: str) -> None:
    world = ready(model, hosts=3)
    place(world, B1, B2, B3)
    world.diff([route("r", "blue", "192.168.7.0/24", "b1"), RULE, LB])
    old = dpid_of(host(1))
    elsewhere = moved(host(1), 9)
    world.core.switch_connected(dpid_of(elsewhere), {"vp-b1": 222}, world.now)
    world.net.underlay[int(elsewhere.underlay_ip)] = "h1"
    world.net.switches["h1"].flows.clear()
    world.diff([elsewhere])
    assert world.core.view.ports["b1"] == 222  # what the new switch says
    check(world)
    assert world.reaches(B2, B1)
    world.core.switch_connected(old, {"vp-b1": 5}, world.now)  # no node has the old switch any more
    assert world.core.view.ports["b1"] == 222


def test_a_host_that_takes_the_switch_of_another_has_it_read_again() -> None:
    world = ready()
    place(world, B1)
    heir = Host(name="h9", underlay_ip=host(2).underlay_ip)
    world.core.agent_hello("h9", {}, world.now)
    world.net.switches["h9"] = world.net.switches["h2"]
    world.diff([heir], [("Host", "h2")])
    assert world.core.switches[dpid_of(heir)].sync is Sync.SYNCED
    assert world.core.counters["reconciliations"] == 4
    place(world, vm("b2", "blue", "h9", 3))
    check(world)


@pytest.mark.parametrize("node", [host(1), hoverboard(1)])
def test_a_node_of_another_region_holds_what_it_held(node: Host | Hoverboard) -> None:
    world = ready()
    place(world, B1, B2)
    world.changed.clear()
    world.diff([node.model_copy(update={"region": "west"})])
    assert world.changed == set()
    assert world.core.counters["reconciliations"] == 4
    check(world)


def test_a_switch_that_is_away_stays_away_when_its_node_changes() -> None:
    world = ready()
    switch = world.core.switches[dpid_of(host(1))]
    world.core.switch_disconnected(dpid_of(host(1)), switch.generation, world.now)
    world.diff([host(1).model_copy(update={"region": "west"})])
    assert (switch.connected, world.core.take().reads) == (False, [])


def test_a_node_that_goes_is_of_no_interest_any_more() -> None:
    world = ready(hosts=3, hoverboards=2)
    place(world, B1, B2)
    world.diff(remove=[("Host", "h3"), ("Hoverboard", "hv2")])
    assert set(world.core.expected.tables) == {"h1", "h2", "hv1"}
    world.core.agent_hello("h3", {}, world.now)
    assert world.core.take().reads == []
    world.diff([host(3), hoverboard(2)])
    check(world)


def test_hosts_and_hoverboards_may_come_in_one_request() -> None:
    world = ready(hosts=3)
    place(world, B1, B2, B3)
    world.diff([LB])
    for node in (host(4), hoverboard(2)):
        world.connect(node)
        world.hello(node.name)
    world.diff([host(4), hoverboard(2)])
    check(world)
    assert len({world.travel(one, B2).hops[1] for one in (B1, B3)} | {world.travel(B2, B1).hops[1]}) == 2
    world.diff(remove=[("Host", "h4"), ("Hoverboard", "hv1")])
    check(world)
