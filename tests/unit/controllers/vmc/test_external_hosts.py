"""A host that others program: no flows of ours there, nothing deleted, and the rest of the cluster knows the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.dry_run import consequences
from controllers.fm.intent_store import Changes, IntentStore
from controllers.roles.fabric_manager import FabricManagerRole
from controllers.single_process import Settings
from controllers.testing.world import START, World, cluster, host, place, ready, vm
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.inter_region import InterRegionShare
from controllers.vmc.models import MODELS, model_named
from controllers.vmc.offload.policy import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import AnyEntity, Host
from hoverboard.contract.openflow.flow import Flow
from tests.unit.controllers.event_loop import StillClock, run
from tests.unit.controllers.vmc.controller_rig import EPOCH

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h2", 4)
THEIRS = Flow(0, 1, (), (), 0xBEEF)


def external(number: int = 2) -> Host:
    return host(number).model_copy(update={"program": "external"})


def with_external(model: str = "hoverboard") -> World:
    """h2 is programmed by others from the start; it is connected to us all the same, and holds a flow of theirs."""
    world = World(model)
    world.full_update([*cluster(1), external(), B1, B2])
    world.connect(host(1), {"vp-b1": 100})
    world.connect(external(), {"vp-b2": 100})
    world.net.switches["h2"].flows[THEIRS.key] = THEIRS
    world.hello("h1", {"b1": "vp-b1"})
    world.hello("h2", {"b2": "vp-b2"})
    return world


@pytest.mark.parametrize("model", sorted(MODELS))
def test_it_is_neither_read_nor_sent_anything_under_any_model(model: str) -> None:
    world = with_external(model)
    world.diff([B3])
    world.bind("h2", "b3", "vp-b3")
    world.port(external(), "vp-b3", 101)
    world.diff(remove=[("VM", "b3")])
    assert "h2" not in world.core.expected.tables
    assert world.tables()["h2"] == {THEIRS.key: THEIRS}
    assert [name for name, _ in world.sent if name == "h2"] == []


def test_its_vms_are_not_waited_for() -> None:
    world = with_external()
    assert (world.core.view.intended(), world.core.external()) == (1, ["h2"])
    world.diff([B3])
    assert world.core.view.intended() == 1
    world.diff([host(2)])
    assert (world.core.view.intended(), world.core.external()) == (3, [])


@pytest.mark.parametrize("model", sorted(MODELS))
def test_other_hosts_and_hoverboards_have_the_way_to_its_vms(model: str) -> None:
    intent = [B1, B2]
    theirs, ours = World(model), World(model)
    theirs.full_update([*cluster(1), external(), *intent])
    ours.full_update([*cluster(1), host(2), *intent])
    assert theirs.expected() == {name: table for name, table in ours.expected().items() if name != "h2"}


def test_usage_there_offloads_nothing_and_pairs_that_lead_there_are_offloaded() -> None:
    world = with_external()
    world.usage("h2", 7, "10.0.0.3", "10.0.0.2", 10_000_000)
    assert not world.policy.active
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 10_000_000)
    assert {pair.dst for pair in world.policy.active} == {"b2"}


def test_a_host_that_is_handed_over_loses_our_flows_and_one_that_comes_back_gets_them() -> None:
    world = ready()
    place(world, B1, B2)
    world.diff([external()])
    assert world.tables()["h2"] == {}
    world.net.switches["h2"].flows[THEIRS.key] = THEIRS
    world.diff([host(2)])
    assert world.tables()["h2"] == world.expected()["h2"]
    assert world.reaches(B1, B2)


def test_a_plan_counts_none_of_its_flows() -> None:
    entities: list[AnyEntity] = [*cluster(1), external(), B1]
    found = consequences(model_named("preprogrammed"), entities, Changes(2, added=(B2,)))
    assert set(found) == {"h1"}


def test_status_shows_whose_it_is_and_that_nothing_is_due() -> None:
    async def story() -> None:
        policy = OffloadPolicy()
        controller = Controller(ControllerCore(model_named("gateway"), policy), None, lambda: EPOCH)
        await controller.changed(IntentStore().full_update([*cluster(1), external()]), complete=True)
        rows = controller.switches()
        assert list(rows) == ["h1", "h2", "hv1"]
        assert rows["h2"] == {
            "connected": False, "agent": False, "sync": "external", "flows": 0, "programmed": True, "errors": 0,
            "last_error": "",
        }  # fmt: skip
        controller.agent_hello("h2", {})
        assert controller.switches()["h2"]["agent"]
        controller.stop()

    run(story(), StillClock)


def test_a_global_plane_shows_those_of_its_region() -> None:
    core = ControllerCore(model_named("gateway"), OffloadPolicy(), share=InterRegionShare("east"))
    homes = [external(2).model_copy(update={"region": "east"}), external(3).model_copy(update={"region": "west"})]
    core.fabric_changed(IntentStore().full_update([*cluster(0, 0), *homes]), complete=True, now=START)
    assert core.external() == ["h2"]
    core.switch_connected(datapath_id(homes[0].underlay_ip), {}, START)
    assert core.take().reads == []


def test_the_fabric_manager_of_its_own_waits_for_none_of_its_vms_either(tmp_path: Path) -> None:
    async def story() -> None:
        manager = FabricManagerRole(Settings(tmp_path), 1, embedded=False)
        await manager.full_update([*cluster(1), host(2), B1, B2])
        assert (await manager.status())["vms"]["intended"] == 2
        await manager.full_update([*cluster(1), external(), B1, B2])
        assert (await manager.status())["vms"]["intended"] == 1

    run(story())
