"""Which Hoverboards are up, by their switches and agents, and after what time one counts as down."""

from __future__ import annotations

import pytest

from controllers.testing.world import hoverboard, ready
from tests.unit.controllers.vmc.node_world import dpid_of


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
