"""Hosts and Hoverboards that come, change and go, networks that reach a host, and which partition owns what."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from controllers.testing.world import (
    START,
    World,
    cluster,
    host,
    hoverboard,
    network,
    place,
    ready,
    route,
    vm,
)
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from controllers.vmc.view.facts import Sync
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Host, Hoverboard, LoadBalancer
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, cookie
from hoverboard.contract.reports import FlowUsage, UsageReport

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
RULE = FirewallRule(name="f", network="blue", direction="ingress", action="deny", priority=5, ports=(), protocol="icmp")
LB = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1",))


def dpid_of(node: Host | Hoverboard) -> int:
    return datapath_id(node.underlay_ip)


def moved(node: Host | Hoverboard, last: int) -> Host | Hoverboard:
    """The same node at another underlay address, that of h`last`."""
    return node.model_copy(update={"underlay_ip": host(last).underlay_ip})


def from_nothing(world: World) -> World:
    """The same intent and facts, computed by another controller."""
    other = World(world.core.model.name)
    other.full_update(list(world.fabric.entities.values()))
    joined = {name: world.core.view.vms[name].host for name in world.core.view.ports}
    for node in world.fabric.entities.values():
        if isinstance(node, Host | Hoverboard):
            other.connect(node, dict(world.core.switches[dpid_of(node)].ports))
            other.hello(node.name, {name: f"vp-{name}" for name, home in joined.items() if home == node.name})
    return other


def check(world: World) -> None:
    """Switches hold what is expected, and that is what another controller computes from nothing."""
    names = {name for kind, name in world.fabric.entities if kind in ("Host", "Hoverboard")}
    assert set(world.expected()) == names
    assert {name: world.tables()[name] for name in names} == world.expected()
    assert from_nothing(world).expected() == world.expected()


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
    world.core.switch_connected(dpid_of(host(3)), {"vp-b3": 150}, world.now)
    world.core.agent_hello("h3", {"b3": "vp-b3"}, world.now)
    assert world.core.take().reads == []
    world.net.switches["h3"] = type(world.net.switches["h1"])()
    world.net.underlay[int(host(3).underlay_ip)] = "h3"
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
    world.core.switch_connected(old, {"vp-b1": 5}, world.now)  # the old switch belongs to no node any more
    assert world.core.take().reads == []
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


def test_a_switch_of_another_partition_is_not_emptied() -> None:
    even, odd = parts()
    for world in (even, odd):
        world.connect(hoverboard(1))
        world.hello("hv1")
    each([even, odd], lambda world: world.diff(remove=[("Hoverboard", "hv1")]))
    assert sorted(world.core.counters["switches_emptied"] for world in (even, odd)) == [0, 1]


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


# --- which Hoverboards live ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "due"),
    [("", 5.0), ("agent", None), ("switch", None), ("both", None), ("switch that went", 5.0), ("agent that went", 5.0)],
)
def test_a_hoverboard_that_is_heard_before_its_entity_comes_is_not_waited_for(known: str, due: float | None) -> None:
    world = ready()
    hv2 = hoverboard(2)
    if known.startswith(("switch", "both")):
        generation = world.core.switch_connected(dpid_of(hv2), {}, world.now)
        if known.endswith("went"):
            world.core.switch_disconnected(dpid_of(hv2), generation, world.now)
    if known.startswith(("agent", "both")):
        world.core.agent_hello("hv2", {}, world.now)
        if known.endswith("went"):
            world.core.agent_gone("hv2", world.now)
    world.core.fabric_changed(world.fabric.diff([hv2], []), complete=True, now=world.now)
    assert world.core.deadline() == (None if due is None else world.now + due)


def test_a_switch_that_connects_again_within_a_moment_was_not_lost() -> None:
    world = ready(hoverboards=2)
    dpid = dpid_of(hoverboard(1))
    world.core.switch_disconnected(dpid, world.core.switches[dpid].generation, world.now)
    assert world.core.deadline() == world.now + 0.1
    world.connect(hoverboard(1))
    assert world.core.deadline() is None
    world.core.agent_gone("hv1", world.now)
    assert world.core.deadline() == world.now + 0.1
    world.hello("hv1")
    assert world.core.deadline() is None


@pytest.mark.parametrize(("reported", "seconds"), [(True, 0.1), (False, 5.0)])
@pytest.mark.parametrize("part", ["agent", "switch"])
def test_a_lost_line_to_a_front_end_is_no_dead_hoverboard(part: str, reported: bool, seconds: float) -> None:
    world = ready(hoverboards=2)
    if part == "agent":
        world.core.agent_gone("hv1", world.now, reported=reported)
        assert "hv1" not in world.core.agents.online
    else:
        dpid = dpid_of(hoverboard(1))
        world.core.switch_disconnected(dpid, world.core.switches[dpid].generation, world.now, reported=reported)
    assert world.core.deadline() == world.now + seconds
    world.pass_time(seconds)
    assert world.core.view.down == {"hv1"}
    assert world.core.counters["hoverboards_lost"] == 1
    world.core.agent_hello("hv1", {}, world.now)
    assert "hv1" in world.core.agents.online


def test_a_dead_hoverboard_that_changes_stays_dead_and_one_that_is_removed_is_forgotten() -> None:
    world = ready(hoverboards=2)
    world.core.agent_gone("hv1", world.now)
    world.pass_time(1.0)
    world.diff([hoverboard(1).model_copy(update={"region": "west"})])
    assert world.core.view.gateways() == ["hv2"]
    world.core.agent_hello("hv1", {}, world.now)
    world.now += 0.5
    world.diff([hoverboard(1)])
    assert world.core.view.gateways() == ["hv2"]
    assert world.core.deadline() == world.now + 1.0
    world.diff(remove=[("Hoverboard", "hv1")])
    assert (world.core.view.down, world.core.deadline()) == (set(), None)
    world.core.agent_hello("hv1", {}, world.now)
    world.diff([hoverboard(1)])
    assert set(world.core.view.gateways()) == {"hv1", "hv2"}


# --- partitions ---------------------------------------------------------------------------------------


def parts(*more: AnyEntity, model: str = "hoverboard", reports: str = "hosts") -> list[World]:
    """Two partitions: by whether a datapath id is even."""
    worlds = []
    for part in range(2):
        world = World()
        world.policy = OffloadPolicy(OffloadSettings(reports=reports))  # type: ignore[arg-type]
        world.core = ControllerCore(model_named(model), world.policy, lambda dpid, part=part: dpid % 2 == part)
        world.full_update([*cluster(4, 2), *more])
        worlds.append(world)
    return worlds


def each(worlds: list[World], step: Callable[[World], object]) -> None:
    for world in worlds:
        step(world)


def test_a_hoverboard_of_another_partition_is_watched_and_not_read() -> None:
    even, odd = parts()
    for world in (even, odd):
        world.connect(hoverboard(1))
        world.hello("hv1")
        world.connect(hoverboard(2))
        world.hello("hv2")
    assert [world.core.counters["reconciliations"] for world in (even, odd)] == [1, 1]
    assert set(even.core.expected.tables) & set(odd.core.expected.tables) == set()
    each([even, odd], lambda world: world.core.agent_gone("hv1", world.now))
    each([even, odd], lambda world: world.pass_time(1.0))
    assert [world.core.view.down for world in (even, odd)] == [{"hv1"}, {"hv1"}]


def test_a_removed_hoverboard_is_forgotten_in_every_partition() -> None:
    worlds = parts()
    each(worlds, lambda world: world.core.agent_gone("hv1", world.now))
    each(worlds, lambda world: world.diff(remove=[("Hoverboard", "hv1"), ("Hoverboard", "hv2")]))
    each(worlds, lambda world: world.pass_time(10.0))
    assert [world.core.counters["hoverboards_lost"] for world in worlds] == [0, 0]
    assert [world.core.liveness.down for world in worlds] == [set(), set()]


@pytest.mark.parametrize("model", ["hoverboard", "preprogrammed"])
@pytest.mark.parametrize("node", [host(1), hoverboard(1)])
def test_a_node_at_an_address_of_another_partition_goes_over_to_that(node: Host | Hoverboard, model: str) -> None:
    intent = [B1, B2, RULE, LB, route("r", "blue", "192.168.7.0/24", "b2")]
    worlds = parts(*intent, model=model)
    whole = World(model)
    whole.full_update([*cluster(4, 2), *intent])
    there = [node.name in world.core.expected.tables for world in worlds]
    assert sorted(there) == [False, True]
    even = dpid_of(node) % 2 == 0
    other = moved(node, 9 if even else 8)
    each([*worlds, whole], lambda world: world.diff([other]))
    assert [node.name in world.core.expected.tables for world in worlds] == [not one for one in there]
    assert worlds[0].expected() | worlds[1].expected() == whole.expected()


def relayed(world: World, *pairs: tuple[VM, VM]) -> set[str]:
    """Senders that are offloaded by what hv1 says that it relayed."""
    flows = tuple(FlowUsage(7, src.ip, dst.ip, 1_000_000, 1) for src, dst in pairs)
    world.core.usage(UsageReport("hv1", 1.0, flows), world.now)
    return {pair.src for pair in world.policy.active}


def test_what_hoverboards_relay_counts_where_the_senders_host_is_owned() -> None:
    worlds = parts(B1, B2, reports="hoverboards")
    found = [relayed(world, (B1, B2), (B2, B1)) for world in worlds]
    assert sorted(map(sorted, found)) == [["b1"], ["b2"]]
    assert [world.core.counters["usage_reports_from_hoverboards"] for world in worlds] == [1, 1]


def test_usage_counts_only_for_a_master_and_not_before_its_switch_is_read() -> None:
    world = World()
    world.policy.settings = OffloadSettings(reports="hoverboards")
    world.full_update([*cluster(), B1, B2])
    world.core.deactivate()
    assert relayed(world, (B1, B2)) == set()
    world.connect(host(1))
    world.hello("h1")
    world.core.activate(world.now)
    assert relayed(world, (B1, B2), (B2, B1)) == {"b2"}  # h1 may hold offloads of the former master
    world.work()
    assert relayed(world, (B1, B2)) == {"b1", "b2"}


def test_hosts_own_reports_count_before_their_switch_has_ever_connected() -> None:
    world = World()
    world.full_update([*cluster(), B1, B2])
    flow = FlowUsage(7, B1.ip, B2.ip, 1_000_000, 1)
    world.core.deactivate()
    world.core.usage(UsageReport("h1", 1.0, (flow,)), START)
    assert not world.policy.active
    world.core.activate(START)
    world.core.usage(UsageReport("h1", 1.0, (flow,)), START)
    assert {pair.src for pair in world.policy.active} == {"b1"}
