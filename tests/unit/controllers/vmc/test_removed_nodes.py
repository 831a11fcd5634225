"""Hosts and Hoverboards that are removed from the intent: their switches lose our flows, now or later."""

from __future__ import annotations

import pytest

from controllers.testing.world import host, hoverboard, place, ready
from hoverboard.contract.entities import Host, Hoverboard
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, cookie
from tests.unit.controllers.vmc.node_world import B1, B2, check, dpid_of, restart


@pytest.mark.parametrize("model", ["hoverboard", "preprogrammed", "active-learning"])
def test_a_node_that_is_taken_out_of_the_intent_loses_its_program(model: str) -> None:
    world = ready(model, hosts=3, hoverboards=2)
    place(world, B1, B2)
    learned = Flow(30, 1, (), (), cookie(Kind.LEARNED, 7))
    world.net.switches["h3"].flows[learned.key] = learned
    world.diff(remove=[("Host", "h3"), ("Hoverboard", "hv2")])
    assert world.tables()["h3"] == world.tables()["hv2"] == {}
    assert world.core.counters["switches_emptied"] == 2
    check(world)
    assert world.reaches(B1, B2)
    world.diff([host(3), hoverboard(2)])
    check(world)


def test_a_switch_that_was_away_when_its_node_was_taken_out_is_emptied_when_it_returns() -> None:
    world = ready(hoverboards=2)
    place(world, B1)
    away = dpid_of(hoverboard(2))
    world.core.switch_disconnected(away, world.core.switches[away].generation, world.now)
    world.diff(remove=[("Hoverboard", "hv2")])
    assert world.tables()["hv2"] != {}
    world.connect(hoverboard(2))
    assert world.tables()["hv2"] == {}


def test_a_switch_that_refuses_to_be_emptied_is_tried_again() -> None:
    world = ready(hoverboards=2)
    world.refuse.add("hv2")
    world.diff(remove=[("Hoverboard", "hv2")])
    assert world.tables()["hv2"] != {}
    world.refuse.clear()
    world.pass_time(1.0)
    assert world.tables()["hv2"] == {}


def test_a_standby_empties_nothing_until_it_is_elected() -> None:
    world = ready(hoverboards=2)
    world.core.deactivate()
    world.diff(remove=[("Hoverboard", "hv2")])
    assert world.tables()["hv2"] != {}
    world.core.activate(world.now)
    world.work()
    assert world.tables()["hv2"] == {}


# --- removed while no controller was there ------------------------------------------------------------


@pytest.mark.parametrize("node", [host(3), hoverboard(2)])
@pytest.mark.parametrize("connects", ["before the intent comes", "after"])
def test_a_controller_that_was_away_at_the_removal_withdraws_the_program(
    node: Host | Hoverboard, connects: str
) -> None:
    world = ready(hosts=3, hoverboards=2)
    place(world, B1, B2)
    before = world.tables()
    left = [entity for entity in world.fabric.entities.values() if entity.name != node.name]
    restart(world)
    if connects != "after":
        world.connect(node)
    assert world.tables() == before  # nothing is known yet of what is intended
    world.full_update(left)
    if connects == "after":
        world.connect(node)
    assert world.tables() == {**before, node.name: {}}
    assert world.core.counters["switches_emptied"] == 1
    world.diff([node])
    world.hello(node.name)
    assert world.tables()[node.name] == world.expected()[node.name] != {}


def test_a_standby_leaves_it_to_the_master() -> None:
    world = ready(hoverboards=2)
    left = [entity for entity in world.fabric.entities.values() if entity.name != "hv2"]
    restart(world)
    world.core.deactivate()
    world.full_update(left)
    world.connect(hoverboard(2))
    assert world.tables()["hv2"] != {}
    world.core.activate(world.now)
    world.work()
    assert world.tables()["hv2"] == {}


def test_an_empty_switch_of_no_node_is_sent_nothing() -> None:
    world = ready()
    world.sent.clear()
    world.connect(hoverboard(2))
    assert (world.sent, world.core.counters["switches_emptied"]) == ([], 0)
