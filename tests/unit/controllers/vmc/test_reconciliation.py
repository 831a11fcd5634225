"""Reconciliation: a switch that connects is read first, and gets the difference only."""

from __future__ import annotations

from controllers.program import Program
from controllers.testing.world import World, cluster, host, hoverboard, place, ready, vm
from controllers.vmc.view.facts import Sync
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.openflow.flow import Flow

B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
H1 = host(1)


def running() -> World:
    world = ready("hoverboard")
    place(world, B1, B2)
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 1_000_000)
    return world


def successor(old: World) -> World:
    """A control plane that has just started, before the switches of `old`."""
    world = World("hoverboard")
    world.net = old.net
    return world


def test_a_young_controller_waits_for_everything_and_then_touches_nothing() -> None:
    old = running()
    before = old.tables()
    world = successor(old)
    ports = {node.name: old.core.switches[datapath_id(node.underlay_ip)].ports for node in (H1, host(2))}

    for node in (H1, host(2), hoverboard(1)):  # (1) the switches are back, nothing else
        world.connect(node, ports.get(node.name))
    world.pass_time(100)
    assert world.tables() == before
    world.hello("h1", {"b1": "vp-b1"})  # (2) an agent, but no full update
    assert world.tables() == before
    world.full_update([*cluster(), B1, B2])  # (3) all for h1
    world.hello("h2", {"b2": "vp-b2"})
    world.hello("hv1")

    assert world.tables() == before
    assert world.sent == []
    assert {switch.sync for switch in world.core.switches.values()} == {Sync.SYNCED}
    assert world.core.counters["offloads_adopted"] == 1
    assert world.core.counters["reconciled_flows_changed"] == 0


def test_an_adopted_offload_ages_like_any_other() -> None:
    old = running()
    world = successor(old)
    world.full_update([*cluster(), B1, B2])
    world.connect(H1, {"vp-b1": 100})
    world.hello("h1", {"b1": "vp-b1"})
    assert len(world.policy.active) == 1
    world.pass_time(31)
    assert not world.policy.active
    assert [(name, len(program.deletes)) for name, program in world.sent] == [("h1", 1)]


def test_an_offload_that_is_not_legal_any_more_is_removed() -> None:
    world = successor(running())
    world.full_update([*cluster(), B1])
    world.connect(H1, {"vp-b1": 100})
    world.hello("h1", {"b1": "vp-b1"})
    assert not world.policy.active
    assert [(name, len(program)) for name, program in world.sent] == [("h1", 1)]


def test_only_the_difference_is_sent() -> None:
    world = running()
    switch = world.net.switches["h1"]
    flows = list(switch.flows.values())
    lost, bent = flows[0], flows[3]
    stray = Flow(30, 7, (), (), 0xBAD)
    switch.apply(Program((Flow(bent.table, bent.priority, bent.match, (), bent.cookie ^ 1), stray), (lost.key,)))
    world.sent.clear()
    world.connect(H1, {"vp-b1": 100})
    ((name, program),) = world.sent
    assert (name, set(program.adds), len(program), program.deletes) == ("h1", {lost, bent}, 3, (stray.key,))
    assert world.tables()["h1"] == world.expected()["h1"]


def test_a_change_while_a_switch_is_away_reaches_it_on_return() -> None:
    world = running()
    dpid = datapath_id(hoverboard(1).underlay_ip)
    world.core.switch_disconnected(dpid, world.core.switches[dpid].generation, world.now)
    world.sent.clear()
    world.diff([vm("b3", "blue", "h2", 9)])
    assert world.sent == []
    assert "hv1" in world.changed
    world.connect(hoverboard(1))
    assert [(name, len(program)) for name, program in world.sent] == [("hv1", 1)]


def test_late_news_of_an_old_connection_is_ignored() -> None:
    world = running()
    dpid = datapath_id(H1.underlay_ip)
    old = world.core.switches[dpid].generation
    world.connect(H1, {"vp-b1": 100})
    world.core.switch_disconnected(dpid, old, world.now)
    world.core.switch_flows(dpid, old, [], world.now)
    world.core.program_rejected(dpid, old, "late", world.now)
    assert world.core.switches[dpid].sync is Sync.SYNCED
    assert world.core.switches[dpid].errors == 0


def test_a_rejected_program_is_retried_and_disturbs_no_other_switch() -> None:
    world = running()
    world.refuse = {"hv1"}
    world.diff([vm("b3", "blue", "h1", 9)])
    place(world, vm("b4", "blue", "h1", 10))
    dpid = datapath_id(hoverboard(1).underlay_ip)
    assert world.core.switches[dpid].sync is Sync.FAILED
    assert world.core.switches[dpid].last_error == "table full"
    assert world.tables()["h1"] == world.expected()["h1"]
    assert world.core.deadline() == world.now + 1.0
    world.pass_time(1.0)  # refused again: the pause doubles
    assert world.core.deadline() == world.now + 2.0
    world.refuse = set()
    world.pass_time(2.0)
    assert world.tables()["hv1"] == world.expected()["hv1"]
    assert world.core.switches[dpid].errors == 2


def test_a_new_port_number_or_a_vanished_port() -> None:
    world = running()
    world.port(H1, "vp-b1", 123)
    assert world.travel(B1, B2).delivered
    assert world.core.view.ports["b1"] == 123
    world.port(H1, "vp-b1", None)
    assert "b1" not in world.core.view.ports
    world.port(H1, "vp-b1", 100)
    assert world.reaches(B1, B2)


def test_a_vport_holds_one_vm() -> None:
    world = running()
    b3 = vm("b3", "blue", "h1", 9)
    world.diff([b3])
    world.bind("h1", "b3", "vp-b1")
    assert world.core.view.ports == {"b2": world.core.view.ports["b2"], "b3": 100}
    assert world.reaches(b3, B2)


def test_an_agent_that_goes_takes_nothing_along() -> None:
    world = running()
    world.sent.clear()
    world.core.agent_gone("h1", world.now)
    world.work()
    assert world.sent == []
    assert world.reaches(B1, B2)


def test_a_node_that_gets_another_address_is_read_at_its_new_switch() -> None:
    world = running()
    moved = H1.model_copy(update={"underlay_ip": host(9).underlay_ip})
    world.net.switches["h1"].flows.clear()
    world.diff([moved])
    world.connect(moved, {"vp-b1": 100})
    assert world.reaches(B2, B1)
    assert world.tables()["h1"] == world.expected()["h1"]


def test_a_program_lost_with_its_connection_is_no_refusal() -> None:
    world = running()
    dpid = datapath_id(H1.underlay_ip)
    switch = world.core.switches[dpid]
    world.core.switch_disconnected(dpid, switch.generation, world.now)
    world.core.program_rejected(dpid, switch.generation, "went away", world.now)
    assert (switch.errors, switch.outstanding, world.core.deadline()) == (0, 0, world.policy.deadline())
