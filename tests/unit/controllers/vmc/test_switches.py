"""Switches of a controller: connections, reads, programs, refusals, what is counted, and what a standby keeps back."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controllers.program import Program
from controllers.testing.world import START, World, cluster, host, hoverboard, place, ready, vm
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.view.facts import Switch, Sync
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import LoadBalancer
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, cookie

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h1", 4)
H1, H2, HV1 = (datapath_id(node.underlay_ip) for node in (host(1), host(2), hoverboard(1)))
LB = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1", "b2"))
CONTROL = ("reconciliations", "reconciled_flows_kept", "reconciled_flows_changed", "programs_refused")


def running(model: str = "hoverboard") -> World:
    world = ready(model)
    place(world, B1, B2)
    return world


def counted(world: World) -> list[int]:
    return [world.core.counters[name] for name in CONTROL]


def young(model: str = "hoverboard", **options: bool) -> ControllerCore:
    core = ControllerCore(model_named(model), OffloadPolicy(), **options)
    assert set(core.counters.values()) == {0}
    return core


# --- connections --------------------------------------------------------------------------------------


def test_a_switch_that_has_never_connected_is_away_and_has_nothing() -> None:
    switch = Switch(5)
    assert not switch.connected
    assert (switch.generation, switch.ports, switch.outstanding, switch.inherited) == (0, {}, 0, False)
    assert (switch.errors, switch.last_error, switch.retry_at, switch.pause) == (0, "", 0.0, 0.0)


def test_each_connection_has_the_next_number() -> None:
    core = young()
    assert [core.switch_connected(H1, {}, START) for _ in range(3)] == [1, 2, 3]
    assert core.switch_connected(H2, {}, START) == 1
    core.deactivate()
    assert core.switches[H1].generation == 4
    assert core.switch_connected(H1, {}, START) == 5


def test_ports_that_changed_while_a_switch_was_away_are_joined_again() -> None:
    world = running()
    world.diff([B3])
    world.bind("h1", "b3", "vp-b3")
    for ports in ({"vp-b1": 100, "vp-b3": 7}, {"vp-b1": 8, "vp-b3": 7}, {"vp-b3": 7}, {"vp-b3": 9, "vp-b1": 8}, {}):
        world.connect(host(1), ports)
        known = {name: number for name, number in world.core.view.ports.items() if name != "b2"}
        assert known == {name.removeprefix("vp-"): number for name, number in ports.items()}
        assert world.tables()["h1"] == world.expected()["h1"]


def test_an_unplugged_vm_is_not_joined_any_more() -> None:
    world = running()
    world.unbind("h1", "b1")
    assert set(world.core.view.ports) == {"b2"}
    assert world.tables()["h1"] == world.expected()["h1"]
    world.bind("h1", "b1", "vp-b1")
    assert world.reaches(B2, B1)


@pytest.mark.parametrize("known", [True, False])
def test_events_of_an_unknown_switch_change_nothing(known: bool) -> None:
    world = running()
    dpid = datapath_id(host(9).underlay_ip)
    if known:  # it connected, but is no node of the cluster
        generation = world.core.switch_connected(dpid, {"vp-b1": 5}, world.now)
        world.core.port_changed(dpid, "vp-b1", 6)
    else:
        generation = 1
    world.core.switch_flows(dpid, generation, [], world.now)
    world.core.program_done(dpid, generation)
    world.core.packet_in(dpid, generation, 1, cookie(Kind.PUNT, 7), b"", world.now)
    world.core.program_rejected(dpid, generation + 1, "full", world.now)
    world.core.switch_disconnected(dpid, generation, world.now)
    work = world.core.take()
    # One that connects is read: it may hold the program of a node that was removed.
    assert work.reads == ([(dpid, generation)] if known else [])
    assert (work.programs, world.core.counters["programs_refused"]) == ([], 0)
    assert world.core.view.ports["b1"] == 100


# --- reads ----------------------------------------------------------------------------------------------


def test_a_switch_is_read_when_intent_its_agent_and_the_switch_are_there_and_once() -> None:
    for last in ("intent", "agent", "switch"):
        core, world = young(), World()
        changes = world.fabric.full_update(cluster())
        steps = {
            "intent": lambda core=core, changes=changes: core.fabric_changed(changes, complete=True, now=START),
            "agent": lambda core=core: core.agent_hello("h1", {}, START),
            "switch": lambda core=core: core.switch_connected(H1, {}, START),
        }
        for name, step in steps.items():
            if name != last:
                step()
                assert core.take().reads == []
        steps[last]()
        assert core.take().reads == [(H1, 1)]
        core.agent_hello("h1", {}, START)
        core.fabric_changed(world.fabric.diff([B1], []), complete=True, now=START)
        assert core.take().reads == []


def test_a_part_of_the_intent_is_no_reason_to_read() -> None:
    core, world = young(), World()
    core.switch_connected(H1, {}, START)
    core.agent_hello("h1", {}, START)
    changes = world.fabric.full_update(cluster())
    core.fabric_changed(changes, complete=False, now=START)
    assert core.take().reads == []
    core.agent_hello("h1", {}, START)
    assert core.take().reads == []
    core.fabric_changed(world.fabric.diff([B1], []), complete=True, now=START)
    assert core.take().reads == [(H1, 1)]


def test_an_agent_that_says_hello_again_has_nothing_read_again() -> None:
    world = running()
    before = counted(world)
    world.hello("h1", {"b1": "vp-b1"})
    assert counted(world) == before


def test_what_a_read_finds_is_counted_as_kept_or_changed() -> None:
    world = ready()
    first = sum(len(table) for table in world.tables().values())
    assert counted(world) == [3, 0, first, 0]
    whole = len(world.expected()["h1"])
    world.connect(host(1))
    assert counted(world) == [4, whole, first, 0]
    flows = world.net.switches["h1"].flows
    del flows[next(iter(flows))]
    stray = Flow(30, 7, (), (), 0xBAD)
    flows[stray.key] = stray
    world.connect(host(1))
    assert counted(world) == [5, 2 * whole - 1, first + 2, 0]


def test_a_second_answer_to_a_read_and_one_for_a_node_that_is_gone_count_for_nothing() -> None:
    world = ready()
    before = counted(world)
    world.core.switch_flows(H1, 1, [], world.now)
    assert counted(world) == before
    generation = world.core.switch_connected(H2, {}, world.now)
    assert world.core.take().reads == [(H2, generation)]
    world.core.fabric_changed(world.fabric.diff([], [("Host", "h2")]), complete=True, now=world.now)
    world.core.switch_flows(H2, generation, [], world.now)
    assert counted(world) == before
    assert world.core.take().programs == []


@pytest.mark.parametrize("model", ["active-learning", "gateway"])
def test_only_flows_that_a_host_may_learn_are_left_alone(model: str) -> None:
    world = running(model)
    learned, stray = Flow(30, 90, (), (), cookie(Kind.LEARNED, 7)), Flow(30, 91, (), (), cookie(Kind.ROUTE, 7))
    world.net.switches["h1"].apply(Program((learned, stray)))
    world.sent.clear()
    world.connect(host(1), {"vp-b1": 100})
    gone = (stray.key,) if model == "active-learning" else (learned.key, stray.key)
    assert world.sent == [("h1", Program((), gone))]


@pytest.mark.parametrize(("old", "new"), [("active-learning", "gateway"), ("gateway", "active-learning")])
def test_while_one_of_two_models_learns_what_is_learned_stays(old: str, new: str) -> None:
    world = running(old)
    world.core.set_model(model_named(new), world.now)
    learned = Flow(30, 90, (), (), cookie(Kind.LEARNED, 7))
    world.net.switches["h1"].apply(Program((learned,)))
    world.connect(host(1), {"vp-b1": 100})
    assert learned in world.tables()["h1"].values()


# --- programs -------------------------------------------------------------------------------------------


def outstanding(world: World) -> tuple[int, Sync]:
    switch = world.core.switches[HV1]
    return switch.outstanding, switch.sync


def sent_to(world: World, *vms: object) -> list[tuple[int, int, Program]]:
    """The programs of one change each for hv1, taken and not answered."""
    found = []
    for one in vms:
        world.core.fabric_changed(world.fabric.diff([one], []), complete=True, now=world.now)  # type: ignore[list-item]
        found += [program for program in world.core.take().programs if program[0] == HV1]
    return found


def test_a_refusal_is_counted_and_the_pause_before_the_next_try_doubles_up_to_30_s() -> None:
    world = ready()
    world.refuse = {"hv1"}
    world.diff([B1])
    pauses = []
    for _ in range(7):
        due = world.core.deadline()
        assert due is not None
        pauses.append(due - world.now)
        world.pass_time(due - world.now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    switch = world.core.switches[HV1]
    assert (switch.errors, switch.last_error, world.core.counters["programs_refused"]) == (8, "table full", 8)
    world.refuse = set()
    world.pass_time(30.0)
    assert world.tables()["hv1"] == world.expected()["hv1"]
    assert world.core.deadline() is None
    world.refuse = {"hv1"}
    world.diff([B2])
    assert world.core.deadline() == world.now + 1.0  # what was accepted has ended the pauses


def test_no_try_comes_before_its_time() -> None:
    world = ready()
    world.refuse = {"hv1"}
    world.diff([B1])
    world.refuse = set()
    world.pass_time(0.5)
    assert outstanding(world) == (0, Sync.FAILED)
    world.pass_time(0.5)
    assert outstanding(world) == (0, Sync.SYNCED)


def test_a_program_that_is_done_after_another_was_refused_ends_no_pause() -> None:
    world = ready()
    (first, second) = sent_to(world, B1, B2)
    assert outstanding(world) == (2, Sync.SYNCED)
    world.core.program_rejected(*first[:2], "table full", world.now)
    world.core.program_done(*second[:2])
    assert outstanding(world) == (0, Sync.FAILED)
    assert world.core.switches[HV1].pause == 1.0
    world.pass_time(1.0)
    assert world.tables()["hv1"] == world.expected()["hv1"]


def test_two_refusals_of_programs_sent_together_are_one_pause() -> None:
    world = ready()
    for program in sent_to(world, B1, B2):
        world.core.program_rejected(*program[:2], "table full", world.now)
    assert world.core.switches[HV1].pause == 1.0
    assert world.core.switches[HV1].errors == 2


def test_a_switch_that_connects_again_after_a_refusal_is_not_waited_for() -> None:
    world = ready()
    world.refuse = {"hv1"}
    world.diff([B1])
    world.refuse = set()
    world.connect(hoverboard(1))
    assert outstanding(world) == (0, Sync.SYNCED)
    world.pass_time(5.0)
    assert world.core.deadline() is None
    assert counted(world)[0] == 4


def test_one_program_done_of_two_leaves_one() -> None:
    world = ready()
    (first, second) = sent_to(world, B1, B2)
    world.core.program_done(*first[:2])
    assert outstanding(world) == (1, Sync.SYNCED)
    world.core.program_done(*second[:2])
    assert outstanding(world) == (0, Sync.SYNCED)
