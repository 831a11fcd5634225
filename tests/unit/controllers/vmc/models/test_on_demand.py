"""On demand: questions of hosts, answers, what ends them, and how little one VM can cost the others."""

from __future__ import annotations

import pytest

from controllers.testing.fake_switch import ipv4_packet
from controllers.testing.world import World, ethernet, place, ready, route, vm
from controllers.vmc.lookups.lookups import IDLE_EXPIRY, NEGATIVE_EXPIRY
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import Host
from hoverboard.contract.openflow.pipeline import Kind, cookie, kind_of
from hoverboard.contract.token_bucket import ASK_BURST

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
UNUSED = "10.0.0.99"


@pytest.fixture
def world() -> World:
    made = ready("on-demand", hosts=3)
    place(made, B1, B2, B3)
    return made


def kinds(world: World, switch: str) -> list[Kind | None]:
    found = [kind_of(flow.cookie) for flow in world.tables()[switch].values()]
    return [kind for kind in found if kind in (Kind.ROUTE, Kind.DROP_UNKNOWN_DESTINATION)]


def test_the_first_packet_asks_and_arrives_and_the_second_goes_straight(world: World) -> None:
    assert world.travel_as_it_is(B1, B2).punted
    assert world.travel(B1, B2).hops == ("h1", "h2")
    assert world.core.counters["packets_in"] == 1
    assert world.travel_as_it_is(B1, B2).hops == ("h1", "h2")
    assert kinds(world, "h1") == [Kind.ROUTE]
    assert kinds(world, "h2") == []
    assert not any(kind_of(flow.cookie) is Kind.RELAY for flow in world.tables()["hv1"].values())


def test_an_unused_address_gets_a_negative_answer_for_a_while(world: World) -> None:
    assert world.send(B1, UNUSED).delivered == ()
    assert kinds(world, "h1") == [Kind.DROP_UNKNOWN_DESTINATION]
    assert world.send(B1, UNUSED).dropped == ("unknown-destination",)
    assert world.core.counters["packets_in"] == 1
    world.usage("h1", 7, "10.0.0.2", UNUSED, 1_000)  # use does not keep it
    world.pass_time(NEGATIVE_EXPIRY + 0.1)
    assert kinds(world, "h1") == []
    # The VM that comes is heard of at once, not after the negative answer's time.
    world.send(B1, UNUSED)
    late = vm("b9", "blue", "h3", 99)
    place(world, late)
    assert kinds(world, "h1") == [Kind.ROUTE]
    assert world.reaches(B1, late)
    world.diff(remove=[("VM", "b9")])
    assert kinds(world, "h1") == [Kind.DROP_UNKNOWN_DESTINATION]


def test_an_answer_lives_while_it_is_used(world: World) -> None:
    world.travel(B1, B2)
    world.pass_time(IDLE_EXPIRY - 1)
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 1_000)
    world.pass_time(IDLE_EXPIRY - 1)
    assert kinds(world, "h1") == [Kind.ROUTE]
    world.pass_time(2)
    assert kinds(world, "h1") == []
    assert world.core.deadline() is None
    assert not len(world.core.questions.lookups)


def test_answers_follow_moves_routes_and_the_last_vm(world: World) -> None:
    world.travel(B1, B2)
    moved = vm("b2", "blue", "h3", 3)
    world.diff([moved])
    world.bind("h3", "b2", "vp-b2x")
    world.port(world.fabric.entities["Host", "h3"], "vp-b2x", 150)  # type: ignore[arg-type]
    assert world.travel_as_it_is(B1, moved).hops == ("h1", "h3")
    world.diff([route("r", "blue", "192.168.7.0/24", "b3")])
    assert world.send(B1, "192.168.7.9").hops == ("h1", "h3")
    world.diff(remove=[("Route", "r")])
    assert world.send(B1, "192.168.7.9").dropped == ("unknown-destination",)
    world.diff(remove=[("VM", "b1")])
    assert kinds(world, "h1") == []
    assert not len(world.core.questions.lookups)


def test_a_flood_of_one_vm_costs_the_other_nothing(world: World) -> None:
    b4 = vm("b4", "blue", "h1", 5)
    place(world, b4)
    for last in range(100, 100 + int(ASK_BURST) + 30):
        world.send(B1, f"10.0.0.{last}")
    assert world.core.counters["packets_in_limited"] == 30
    assert world.reaches(b4, B2)
    world.now += 2.0
    assert world.reaches(B1, B2)


def test_a_successor_takes_answers_over(world: World) -> None:
    world.travel(B1, B2)
    before = world.tables()
    young = World("on-demand")
    young.net = world.net
    young.full_update(list(world.fabric.entities.values()))
    h1 = world.fabric.entities["Host", "h1"]
    assert isinstance(h1, Host)
    young.connect(h1, world.core.switches[datapath_id(h1.underlay_ip)].ports)
    young.hello("h1", {"b1": "vp-b1"})
    assert young.tables()["h1"] == before["h1"]
    assert young.sent == []
    young.pass_time(IDLE_EXPIRY + 1)
    assert kinds(young, "h1") == []


def test_packets_that_ask_nothing_sensible_are_counted(world: World) -> None:
    dpid = datapath_id("172.16.0.1")
    generation = world.core.switches[dpid].generation
    frame = ethernet(ipv4_packet(B1.mac, int(B1.ip), int(B2.ip)))
    for what, data in ((cookie(Kind.PUNT, 7), b""), (cookie(Kind.PUNT, 999), frame), (cookie(Kind.ROUTE, 7), frame)):
        world.core.packet_in(dpid, generation, 100, what, data, world.now)
    assert world.core.counters["packets_in_unknown"] == 3
    world.core.packet_in(dpid, generation - 1, 100, cookie(Kind.PUNT, 7), frame, world.now)
    assert world.core.counters["packets_in"] == 3
