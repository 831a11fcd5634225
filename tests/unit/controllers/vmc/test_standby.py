"""A standby knows everything and sends nothing; a controller computes for the switches of its partition only."""

from __future__ import annotations

from ipaddress import IPv4Address

from controllers.fm.intent_store import IntentStore
from controllers.testing.world import START, World, cluster, host, hoverboard, place, vm
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.reports import FlowUsage, UsageReport


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
    world.core.activate(world.now)
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
    world.core.activate(world.now)
    world.work()
    assert (world.tables(), len(world.sent)) == (before, sent)
    assert world.core.counters["reconciled_flows_changed"] == sum(len(program) for _, program in world.sent[:3])


def test_a_young_master_does_not_write_again_what_an_agent_tells_it_of_a_switch_that_is_right() -> None:
    """All controllers died at once: the new master is elected before it has heard any agent."""
    world = World()
    world.full_update(cluster())
    nodes = (host(1), host(2), hoverboard(1))
    for node in nodes:
        world.connect(node)
        world.hello(node.name)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    before, ports = world.tables(), {dpid: dict(one.ports) for dpid, one in world.core.switches.items()}
    intent = list(world.fabric.entities.values())
    world.core = ControllerCore(model_named("hoverboard"), world.policy, active=False)
    world.core.fabric_changed(World().fabric.full_update(intent), complete=True, now=world.now)
    for dpid, known in ports.items():
        world.core.switch_connected(dpid, known, world.now)
    world.core.activate(world.now)
    assert world.core.take().reads == []
    for name, bound in (("h1", {"a": "vp-a"}), ("h2", {"b": "vp-b"}), ("hv1", {})):
        world.core.agent_hello(name, bound, world.now)
        work = world.core.take()
        assert ([world.core.names[dpid] for dpid, _ in work.reads], work.programs) == ([name], [])
        for dpid, generation in work.reads:
            world.core.switch_flows(dpid, generation, world.net.switches[name].dump(), world.now)
    assert world.core.take().programs == []
    assert world.tables() == before == world.expected()


def test_a_late_answer_to_a_former_master_counts_for_nothing() -> None:
    world = World()
    world.full_update(cluster(1))
    generation = world.core.switch_connected(datapath_id(host(1).underlay_ip), {}, world.now)
    world.core.agent_hello("h1", {}, world.now)
    assert world.core.take().reads
    world.core.deactivate()
    world.core.switch_flows(datapath_id(host(1).underlay_ip), generation, [], world.now)
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
    for world in (whole, *parts):  # a removed node may belong to another partition
        world.diff(remove=[("Hoverboard", "hv1"), ("Hoverboard", "hv2")])
    assert parts[0].expected() | parts[1].expected() == whole.expected()


def test_a_change_need_not_wait_until_an_inherited_switch_is_read() -> None:
    world = World()
    world.full_update(cluster())
    nodes = (host(1), host(2), hoverboard(1))
    for node in nodes:
        world.connect(node)
        world.hello(node.name)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    world.core.deactivate()
    world.net.switches["h1"].flows.popitem()  # what the former master did not get done
    world.core.activate(world.now)
    reads = world.core.take().reads
    assert len(reads) == 3
    before = {dpid: world.net.switches[world.core.names[dpid]].dump() for dpid, _ in reads}
    change = world.fabric.diff([vm("c", "blue", "h2", 4)], [])
    world.core.fabric_changed(change, complete=True, now=world.now)
    work = world.core.take()
    assert [world.core.names[dpid] for dpid, _, _ in work.programs] == ["hv1"]
    for dpid, generation, program in work.programs:
        world.net.switches["hv1"].apply(program)
        world.core.program_done(dpid, generation)
    for dpid, generation in reads:  # the answers are older than the change
        world.core.switch_flows(dpid, generation, before[dpid], world.now)
    world.work()
    assert world.tables() == world.expected()


def test_a_switch_that_reconnects_is_read_before_anything_is_sent() -> None:
    world = World()
    world.full_update(cluster())
    world.connect(hoverboard(1))
    world.hello("hv1")
    world.core.deactivate()
    world.core.activate(world.now)
    world.core.take()
    world.core.switch_connected(datapath_id(hoverboard(1).underlay_ip), {}, world.now)
    change = world.fabric.diff([vm("c", "blue", "h2", 4)], [])
    world.core.fabric_changed(change, complete=True, now=world.now)
    work = world.core.take()
    assert (len(work.reads), work.programs) == (1, [])
    (read,) = work.reads
    world.core.switch_flows(*read, [], world.now)
    world.work()
    assert world.tables()["hv1"] == world.expected()["hv1"]


def test_offloads_of_a_former_master_are_adopted_before_usage_counts() -> None:
    world = World()
    world.full_update(cluster())
    for node in (host(1), host(2), hoverboard(1)):
        world.connect(node)
        world.hello(node.name)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 10_000_000)
    world.core.deactivate()
    world.core.offloading.end_all()
    world.core.take()
    sent = len(world.sent)
    world.core.activate(world.now + 10.0)
    reads = world.core.take().reads
    usage = FlowUsage(7, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 10_000_000, 1)
    world.core.usage(UsageReport("h1", 1.0, (usage,)), world.now)
    assert world.core.take().programs == []
    for dpid, generation in reads:
        world.core.switch_flows(dpid, generation, world.net.switches[world.core.names[dpid]].dump(), world.now)
    world.work()
    assert world.core.counters["offloads_adopted"] == 1
    assert len(world.sent) == sent


def test_an_elected_standby_begins_with_what_its_master_did_not_get_done() -> None:
    world = World()
    world.full_update(cluster())
    world.connect(hoverboard(1))
    world.hello("hv1")
    core, fabric = world.core, world.fabric
    core.deactivate()
    for number, (name, last) in enumerate({"done": 2, "late": 3, "later": 4}.items(), start=1):
        change = fabric.diff([vm(name, "blue", "h2", last)], [])
        core.fabric_changed(change, complete=True, now=START + number / 10, number=number)
        assert core.take().programs == []
    core.unconfirmed.applied(1)
    gone = fabric.diff([], [("VM", "late")])
    core.fabric_changed(gone, complete=True, now=START + 0.4, number=4)
    core.activate(START + 0.5)
    work = core.take()
    ((_, _, program),) = work.programs
    assert {match.value for flow in program.adds for match in flow.match if match.field == "ipv4_dst"} == {
        int(IPv4Address("10.0.0.4"))
    }
    assert len(program.deletes) == 1
    assert len(work.reads) == 1  # which shows whether the rest is right


def test_the_first_update_of_a_new_standby_is_not_unconfirmed() -> None:
    world = World()
    world.full_update(cluster())
    for node in (host(1), host(2), hoverboard(1)):
        world.connect(node)
        world.hello(node.name)
    young = ControllerCore(model_named("hoverboard"), world.policy, active=False)
    entities = [*cluster(), vm("a", "blue", "h1", 2)]
    young.fabric_changed(IntentStore().full_update(entities), complete=True, now=START, number=7)
    young.take()
    for node in (host(1), host(2), hoverboard(1)):
        young.switch_connected(datapath_id(node.underlay_ip), {}, START + 0.1)
        young.agent_hello(node.name, {}, START + 0.1)
    young.take()
    young.activate(START + 0.2)
    work = young.take()
    assert work.programs == []  # its switches hold all of that; the reads show what they do not
    assert len(work.reads) == 3
