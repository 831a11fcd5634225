"""From one programming model to another: at no moment, switch by switch, is there a hole; and dead Hoverboards."""

from __future__ import annotations

import itertools

import pytest

from controllers.program import Program
from controllers.testing.world import World, hoverboard, place, ready, vm
from controllers.vmc.models import MODELS, model_named
from controllers.vmc.models.gateway import rendezvous
from controllers.vmc.view.liveness import GRACE, PROBATION
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import VM
from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, cookie, kind_of

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
PAIRS = [(B1, B2), (B2, B1), (B1, B3)]


def running(model: str) -> World:
    world = ready(model, hosts=3, hoverboards=2)
    place(world, B1, B2, B3)
    for src, dst in PAIRS:
        assert world.reaches(src, dst)
        world.usage(src.host, 7, str(src.ip), str(dst.ip), 1_000)
    return world


def watched(world: World, pairs: list[tuple[VM, VM]]) -> list[str]:
    """After every single program from now on: which established pairs have a hole."""
    holes: list[str] = []
    for name, switch in world.net.switches.items():
        apply = switch.apply

        def look(program: Program, name: str = name, apply: object = apply) -> None:
            apply(program)  # type: ignore[operator]
            for src, dst in pairs:
                journey = world.travel_as_it_is(src, dst)
                if not journey.delivered:
                    holes.append(f"{src.name} -> {dst.name} after {name}: {journey}")

        switch.apply = look  # type: ignore[method-assign]
    return holes


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(sorted(MODELS), 2)))
def test_no_hole_at_any_moment(old: str, new: str) -> None:
    world = running(old)
    holes = watched(world, PAIRS)
    world.core.set_model(model_named(new), world.now)
    world.work()
    assert world.core.switching is not None
    stages = set()
    for _ in range(40):
        stages.add((world.core.switching or "done").partition(":")[0])
        world.pass_time(0.1)
    assert stages >= {"gain", "hosts", "done"}
    assert world.core.switching is None
    assert holes == []
    # What the switches hold is what the new model alone computes; answers and offloads have their own history.
    fresh = running(new)
    own = {Kind.OFFLOAD, Kind.ROUTE, Kind.DROP_UNKNOWN_DESTINATION}

    def without(of: World) -> dict[str, set[Flow]]:
        left = own if new == "on-demand" else {Kind.OFFLOAD}
        return {
            name: {one for one in table.values() if kind_of(one.cookie) not in left}
            for name, table in of.tables().items()
        }

    assert without(world) == without(fresh)
    assert world.tables() == world.expected()


def test_intent_changes_while_the_model_does() -> None:
    world = running("hoverboard")
    world.core.set_model(model_named("preprogrammed"), world.now)
    world.work()
    b4 = vm("b4", "blue", "h3", 9)
    place(world, b4)
    assert world.reaches(B1, b4)
    world.diff(remove=[("VM", "b3")])
    for _ in range(30):
        world.pass_time(0.1)
        assert world.reaches(B1, b4)
        assert world.travel(B1, B3).delivered == ()
    assert world.core.switching is None
    assert world.tables() == world.expected()


def test_a_second_change_waits_for_the_first_and_the_same_model_is_none() -> None:
    world = running("hoverboard")
    world.core.set_model(model_named("hoverboard"), world.now)
    assert world.core.switching is None
    world.core.set_model(model_named("gateway"), world.now)
    with pytest.raises(RunError, match="still in progress"):
        world.core.set_model(model_named("preprogrammed"), world.now)
    with pytest.raises(InputError, match="unknown programming model"):
        model_named("star")


def changed_to_end(world: World) -> None:
    """The change that is under way, to its end."""
    for _ in range(40):
        world.pass_time(0.1)
    assert world.core.switching is None


def changed_to(world: World, model: str) -> None:
    """Change to a model, to the end of the change."""
    world.core.set_model(model_named(model), world.now)
    world.work()
    changed_to_end(world)


def test_a_change_is_counted_and_says_what_it_waits_for() -> None:
    world = running("hoverboard")
    world.core.set_model(world.core.model, world.now)
    assert world.core.counters["model_switches"] == 0
    gateway = model_named("gateway")
    world.core.set_model(gateway, world.now)
    assert world.core.deadline() == world.now + 0.5
    world.core.set_model(gateway, world.now)  # is under way already
    assert (world.core.counters["model_switches"], world.core.model) == (1, gateway)
    assert world.core.switching == "gain: settling"
    world.work()
    world.pass_time(0.5)
    assert world.core.switching == "hosts: settling"
    assert world.core.deadline() == world.now + 1.0
    with pytest.raises(RunError, match="the change to model gateway is still in progress") as refused:
        world.core.set_model(model_named("hoverboard"), world.now)
    assert refused.value.where == "SetModel"
    world.pass_time(1.0)
    assert (world.core.switching, world.core.deadline()) == (None, None)


def test_what_came_before_a_change_is_part_of_both_models() -> None:
    world = running("hoverboard")
    b4 = vm("b4", "blue", "h3", 9)
    world.core.fabric_changed(world.fabric.diff([b4], []), complete=True, now=world.now)
    world.core.set_model(model_named("gateway"), world.now)
    world.work()
    assert world.tables() == world.expected()
    world.core.fabric_changed(world.fabric.diff([], [("VM", "b4")]), complete=True, now=world.now)
    world.core.tick(world.now + 0.5)  # the hosts' turn, with a change that is not taken yet
    world.work()
    assert world.tables() == world.expected()
    world.core.fabric_changed(world.fabric.diff([b4], []), complete=True, now=world.now)
    world.core.tick(world.now + 1.5)
    assert world.core.switching is None
    world.work()
    assert world.tables() == world.expected()


def test_offloads_end_with_the_model_that_has_them_when_its_flows_are_gone() -> None:
    world = running("hoverboard")
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 1_000_000)
    assert len(world.policy.active) == 1
    world.core.set_model(model_named("gateway"), world.now)
    world.work()
    assert len(world.policy.active) == 1
    changed_to_end(world)
    assert not world.policy.active
    assert world.core.counters["offloads_ended"] == 1
    assert world.tables() == world.expected()
    changed_to(world, "hoverboard")
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 1_000_000)
    assert world.travel(B1, B2).hops == ("h1", "h2")
    changed_to(world, "preprogrammed")
    changed_to(world, "hoverboard")
    assert not world.policy.active


def test_an_address_is_answered_again_when_a_model_that_answers_comes_back() -> None:
    world = running("on-demand")
    asked = world.core.counters["packets_in"]
    changed_to(world, "gateway")
    assert len(world.core.questions.lookups) == 0
    changed_to(world, "on-demand")
    assert world.reaches(B1, B2)
    assert world.core.counters["packets_in"] == asked + 1
    assert world.travel_as_it_is(B1, B2).delivered


def test_what_is_in_use_is_answered_while_the_change_lasts_and_not_after() -> None:
    world = running("gateway")
    world.core.set_model(model_named("on-demand"), world.now)
    world.work()
    assert len(world.core.questions.lookups) == 3  # what is in use already
    world.usage("h2", 7, "10.0.0.3", "10.0.0.4", 1_000)
    assert len(world.core.questions.lookups) == 4
    changed_to_end(world)
    assert world.travel_as_it_is(B2, B3).delivered
    world.usage("h3", 7, "10.0.0.4", "10.0.0.3", 1_000)
    assert len(world.core.questions.lookups) == 4  # from now on hosts ask


def test_only_switches_that_may_have_learned_are_read_again_at_the_end() -> None:
    world = running("hoverboard")
    before = world.core.counters["reconciliations"]
    changed_to(world, "gateway")
    assert world.core.counters["reconciliations"] == before
    changed_to(world, "active-learning")
    assert world.core.counters["reconciliations"] == before
    world.core.set_model(model_named("hoverboard"), world.now)
    world.core.switch_disconnected(datapath_id("172.16.0.3"), 1, world.now)
    changed_to_end(world)
    assert world.core.counters["reconciliations"] == before + 4  # all that are there
    assert not world.core.switches[datapath_id("172.16.0.3")].connected


def test_a_standby_follows_a_change_without_waiting_for_switches() -> None:
    world = running("preprogrammed")
    world.core.deactivate()
    world.core.set_model(model_named("gateway"), world.now)
    assert world.core.switching == "gain: settling"
    world.sent.clear()
    world.pass_time(0.5)
    world.pass_time(1.0)
    assert (world.core.switching, world.sent) == (None, [])
    world.core.activate(world.now)
    world.work()
    assert world.tables() == world.expected()
    assert len(world.travel(B1, B2).hops) == 3


def test_a_hoverboard_that_refuses_keeps_the_hosts_on_the_old_model() -> None:
    world = running("preprogrammed")
    world.refuse = {"hv1"}
    world.core.set_model(model_named("gateway"), world.now)
    world.work()
    for _ in range(20):
        world.pass_time(0.1)
    assert world.core.switching == "gain: hv1"
    assert all(world.reaches(*pair) for pair in PAIRS)
    assert world.travel(B1, B2).hops == ("h1", "h2")
    world.refuse = set()
    for _ in range(60):
        world.pass_time(0.1)
    assert world.core.switching is None
    assert len(world.travel(B1, B2).hops) == 3


def test_learned_flows_are_left_alone_while_hosts_may_learn_and_removed_after() -> None:
    world = running("active-learning")
    learned = Flow(30, 90, (), (), cookie(Kind.LEARNED, 7))
    world.net.switches["h1"].apply(Program((learned,)))
    world.connect(world.fabric.entities["Host", "h1"], {"vp-b1": 100})  # type: ignore[arg-type]
    assert learned in world.tables()["h1"].values()
    world.core.set_model(model_named("gateway"), world.now)
    for _ in range(40):
        world.pass_time(0.1)
    assert learned not in world.tables()["h1"].values()


# --- dead Hoverboards ---------------------------------------------------------------------------------


def test_default_routes_leave_a_dead_hoverboard_and_return() -> None:
    world = running("gateway")
    used = rendezvous("h1", ["hv1", "hv2"])
    node = hoverboard(int(used[-1]))
    assert world.travel(B1, B2).hops[1] == used
    world.core.agent_gone(used, world.now)
    world.pass_time(GRACE / 2)
    assert world.travel(B1, B2).hops[1] == used
    world.pass_time(GRACE)
    assert world.travel(B1, B2).hops[1] != used
    assert world.core.view.down == {used}
    assert world.core.counters["hoverboards_lost"] == 1
    world.core.agent_hello(used, {}, world.now)
    world.pass_time(PROBATION / 2)
    assert world.travel(B1, B2).hops[1] != used
    world.pass_time(PROBATION)
    assert world.travel(B1, B2).hops[1] == used
    # ... and its switch alone is enough to be left out, too.
    dpid = datapath_id(node.underlay_ip)
    world.core.switch_disconnected(dpid, world.core.switches[dpid].generation, world.now)
    world.pass_time(1)
    assert world.travel(B1, B2).hops[1] != used


def test_where_all_seem_dead_nothing_changes() -> None:
    world = running("gateway")
    before = world.tables()
    for name in ("hv1", "hv2"):
        world.core.agent_gone(name, world.now)
    world.pass_time(1)
    assert world.tables() == before
