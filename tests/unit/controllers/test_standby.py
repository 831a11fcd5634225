"""A standby knows everything and sends nothing; a controller computes for the switches of its partition only."""

from __future__ import annotations

from control_plane_world import World, cluster, host, hoverboard, place, vm

from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from hoverboard.contract.encapsulation import datapath_id


def test_a_standby_learns_and_does_not_send() -> None:
    world = World()
    world.core.deactivate()
    world.full_update(cluster())
    for node in (host(1), host(2), hoverboard(1)):
        world.connect(node)
        world.hello(node.name)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    assert world.sent == []
    assert world.core.counters["reconciliations"] == 0
    assert set(world.core.view.ports) == {"a", "b"}
    assert all(world.expected().values())
    world.core.activate()
    world.work()
    assert world.tables() == world.expected()
    assert world.core.counters["reconciliations"] == 3


def test_an_elected_standby_changes_nothing_that_is_right() -> None:
    world = World()
    world.full_update(cluster())
    for node in (host(1), host(2), hoverboard(1)):
        world.connect(node)
        world.hello(node.name)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 10_000_000)
    before, sent = world.tables(), len(world.sent)
    world.core.deactivate()
    assert world.core.take().programs == []
    world.core.activate()
    world.work()
    assert (world.tables(), len(world.sent)) == (before, sent)
    assert world.core.counters["reconciled_flows_changed"] == sum(len(program) for _, program in world.sent[:3])


def test_a_late_answer_to_a_former_master_counts_for_nothing() -> None:
    world = World()
    world.full_update(cluster(1))
    generation = world.core.switch_connected(datapath_id(host(1).underlay_ip), {})
    world.core.agent_hello("h1", {})
    assert world.core.take().reads
    world.core.deactivate()
    world.core.switch_flows(datapath_id(host(1).underlay_ip), generation, [], 0.0)
    assert world.core.take().programs == []


def test_partitions_share_the_switches_out() -> None:
    whole = World()
    whole.full_update(cluster(4, 2))
    parts = []
    for part in range(2):
        one = World()
        one.core = ControllerCore(model_named("hoverboard"), one.policy, owns=lambda dpid, part=part: dpid % 2 == part)
        one.full_update(cluster(4, 2))
        parts.append(one)
    for world in (whole, *parts):
        world.diff([vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3)])
    assert set(parts[0].expected()) | set(parts[1].expected()) == set(whole.expected())
    assert set(parts[0].expected()) & set(parts[1].expected()) == set()
    assert parts[0].expected() | parts[1].expected() == whole.expected()
    for world in (whole, *parts):  # a node may go that is somebody else's
        world.diff(remove=[("Hoverboard", "hv1"), ("Hoverboard", "hv2")])
    assert parts[0].expected() | parts[1].expected() == whole.expected()
