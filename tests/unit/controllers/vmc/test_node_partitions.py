"""Which partition owns a node: it alone reads, programs and empties the node's switch, and takes usage from there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controllers.program import Program
from controllers.testing.fake_switch import FakeSwitch
from controllers.testing.world import START, World, cluster, host, hoverboard, route
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard
from hoverboard.contract.openflow.pipeline import base_flows
from hoverboard.contract.reports import FlowUsage, UsageReport
from tests.unit.controllers.vmc.node_world import B1, B2, LB, RULE, dpid_of, moved


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


def test_a_switch_of_another_partition_is_not_emptied() -> None:
    even, odd = parts()
    for world in (even, odd):
        world.connect(hoverboard(1))
        world.hello("hv1")
    each([even, odd], lambda world: world.diff(remove=[("Hoverboard", "hv1")]))
    assert sorted(world.core.counters["switches_emptied"] for world in (even, odd)) == [0, 1]


def test_a_switch_that_no_node_has_is_emptied_by_the_partition_that_would_own_it() -> None:
    worlds = parts()
    each(worlds, lambda world: world.diff(remove=[("Hoverboard", "hv1")]))
    for world in worlds:
        world.net.switches["hv1"] = FakeSwitch()
        world.net.switches["hv1"].apply(Program(tuple(base_flows()), ()))
        world.connect(hoverboard(1))
    assert sorted(world.tables()["hv1"] == {} for world in worlds) == [False, True]
