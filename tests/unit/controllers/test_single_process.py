"""The control plane in one process: its doors on Unix sockets, what each request does, and what belongs to regions."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import grpc
import pytest

from controllers.fm.fabric_client import FabricClient
from controllers.single_process import ControlPlane, Settings, settings_document
from controllers.testing.world import cluster, host, hoverboard, vm
from controllers.vmc.offload.policy import OffloadSettings
from hoverboard.contract.change_documents import Plan
from hoverboard.contract.document_schemas import check
from hoverboard.contract.documents import PlaneStatus
from hoverboard.contract.entities import AnyEntity, Host, Hoverboard
from hoverboard.contract.errors import EntityError, InputError, RunError
from hoverboard.contract.openflow.shares import GLOBAL, REGIONAL, WHOLE, Share
from hoverboard.contract.reports import FlowUsage, UsageReport
from hoverboard.contract.wire import fabric_pb2 as pb
from hoverboard.contract.wire import fabric_pb2_grpc
from tests.unit.controllers.event_loop import StillClock, later, run, turns

B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
GOOD = """
from controllers.vmc.offload.policy import Decision, OffloadPolicy

class Mine(OffloadPolicy):
    def decide(self, host, candidates, now):
        return Decision()
"""

BUILT_IN = {
    "policy": None, "threshold_bps": 20_000.0, "keep_bps": 0.0, "min_lifetime_s": 2.0, "idle_expiry_s": 30.0,
    "budget": 0, "reports": "hosts", "errors": 0, "last_error": None,
}  # fmt: skip


def at(directory: Path, **more: Any) -> Settings:
    return Settings(directory, **more)


async def begun(directory: Path, **more: Any) -> ControlPlane:
    """A plane that serves nothing, with a cluster."""
    plane = ControlPlane(at(directory, **more))
    changes, switches = await plane.full_update([*cluster(), B1])
    assert (changes.version, list(switches)) == (1, ["h1", "h2", "hv1"])
    return plane


# --- doors --------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(directory: Path, **more: Any) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(at(directory, **more))
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


def test_it_serves_on_two_sockets_that_others_may_not_open(tmp_path: Path) -> None:
    for name in ("control.sock", "of.sock"):
        (tmp_path / name).write_text("left by a process that died")

    async def story() -> None:
        async with served(tmp_path):
            for name in ("control.sock", "of.sock"):
                mode = (tmp_path / name).stat().st_mode
                assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
        assert not (tmp_path / "of.sock").exists()
        with FabricClient(f"unix:{tmp_path}/control.sock") as client, pytest.raises(RunError, match="does not answer"):
            await asyncio.to_thread(client.status, 1.0)
        await ControlPlane(at(tmp_path)).stop()  # one that has not started

    run(story())


def test_cluster_management_and_agents_are_served_by_one_door(tmp_path: Path) -> None:
    async def story() -> None:
        offload = OffloadSettings(reports="hoverboards")
        async with served(tmp_path, offload=offload, report_interval=2.5):
            address = f"unix:{tmp_path}/control.sock"
            with FabricClient(address) as client:
                ask = asyncio.to_thread
                assert (await ask(client.full_update, [*cluster(), B1])).added == 8
                large = [pb.Entity(type="VM", json=" " * 200_000) for _ in range(30)]
                with pytest.raises(EntityError):  # of more than gRPC's usual 4 MiB
                    await ask(client.send, pb.DiffRequest(upsert=large))
                async with grpc.aio.insecure_channel(address) as channel:
                    stream = fabric_pb2_grpc.HostsStub(channel).Session()  # type: ignore[no-untyped-call]
                    await stream.write(pb.HostEvent(hello=pb.Hello(node="h1")))
                    command = await stream.read()
                    assert (command.report_interval, command.report_relayed) == (2.5, True)
                    status = await ask(client.status)
                    assert [name for name, one in status["switches"].items() if one["agent"]] == ["h1"]

    run(story())


# --- requests -----------------------------------------------------------------------------------------


def test_a_request_answers_with_what_changed_and_where(tmp_path: Path) -> None:
    async def story() -> None:
        plane = await begun(tmp_path)
        changes, switches = await plane.diff([B2], [])
        assert (changes.added, list(switches)) == ((B2,), ["h2", "hv1"])
        with pytest.raises(RunError, match="expects version 9"):
            await plane.diff([], [("VM", "b2")], 9)
        with pytest.raises(RunError, match="expects version 9"):
            await plane.full_update([], 9)
        changes, _ = await plane.diff([], [("VM", "b2")], 2)
        assert changes.removed == (B2,)
        changes, _ = await plane.full_update([*cluster(), B2], 3)
        assert (changes.added, changes.removed) == ((B2,), (B1,))
        assert (await plane.entities("VM"))["entities"][0]["name"] == "b2"

    run(story())


@pytest.mark.parametrize("whole", [True, False])
def test_what_agents_said_before_is_no_part_of_an_answer(tmp_path: Path, whole: bool) -> None:
    async def story() -> None:
        plane = await begun(tmp_path)
        plane.controller.core.switch_connected(0xAC100001, {"vp-b1": 100}, 0.0)
        plane.controller.agent_hello("h1", {"b1": "vp-b1"})
        changes, switches = await (plane.full_update([*cluster(), B1]) if whole else plane.diff([B1], []))
        assert (bool(changes), list(switches)) == (False, [])
        assert plane.controller.core.view.ports == {"b1": 100}

    run(story())


def test_a_request_while_a_large_one_is_taken_in_sees_no_half_of_it(tmp_path: Path) -> None:
    many = [vm(f"m{n}", "blue", "h1", n % 240 + 10) for n in range(240)]
    asks: list[Callable[[ControlPlane], Awaitable[Any]]] = [
        lambda plane: plane.entities("VM"),
        lambda plane: plane.plan([], []),
        lambda plane: plane.full_update([*cluster(), B1, *many]),
    ]

    async def story(ask: Callable[[ControlPlane], Awaitable[Any]]) -> Any:
        plane = await begun(tmp_path)
        large = asyncio.create_task(plane.diff(many, []))
        await asyncio.sleep(0)
        found = await ask(plane)
        await large
        return found

    assert len(run(story(asks[0]))["entities"]) == 241
    assert run(story(asks[1]))["version"] == 2
    assert not run(story(asks[2]))[0]


def test_a_plan_shows_what_a_diff_would_do_and_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        plane = await begun(tmp_path)
        found = await plane.plan([B2], [("VM", "b1")], 1)
        check(Plan, found)
        assert (found["version"], [one["name"] for one in found["added"]]) == (1, ["b2"])
        assert [one["name"] for one in found["removed"]] == ["b1"]
        assert found["switches"]["hv1"] == {"added": 1, "changed": 0, "removed": 1}
        assert found["switches"]["h1"]["removed"] > 0
        plane.controller.core.switch_connected(0xAC100001, {"vp-b1": 100}, 0.0)
        plane.controller.agent_hello("h1", {"b1": "vp-b1"})
        await turns()
        plugged = await plane.plan([], [("VM", "b1")])
        assert plugged["switches"]["h1"]["removed"] > found["switches"]["h1"]["removed"]
        assert (await plane.status())["version"] == 1
        with pytest.raises(RunError, match="expects version 9"):
            await plane.plan([B2], [], 9)
        with pytest.raises(EntityError, match="unknown entity type"):
            await plane.entities("Volcano")

    run(story())


def test_the_status_is_one_document(tmp_path: Path) -> None:
    async def story() -> None:
        plane = ControlPlane(at(tmp_path, model="gateway", fair_queues=False))
        assert (await plane.status())["synced"] is False
        await plane.full_update([*cluster(), B1, B2])
        plane.controller.core.switch_connected(0xAC100001, {"vp-b1": 100}, 0.0)
        plane.controller.agent_hello("h1", {"b1": "vp-b1"})
        await turns()
        found = await plane.status()
        check(PlaneStatus, found)
        assert set(found.pop("switches")) == {"h1", "h2", "hv1"}
        counters = found.pop("counters")
        assert counters["reconciliations"] == 0
        assert found == {
            "model": "gateway", "switching": None, "lookups": 0, "hoverboards_down": [], "scope": "whole",
            "region": None, "version": 1, "synced": True, "vms": {"intended": 2, "joined": 1}, "offloads": 0,
            "offload_threshold_bps": 20_000.0, "offload_idle_expiry_s": 30.0, "report_interval_s": 1.0,
            "queues": {"fair": False, "waiting": 0}, "offload_policy": BUILT_IN,
        }  # fmt: skip
        assert await plane.offloads() == []
        plane.controller.usage(report_of(b1_sends=1_000_000))
        assert await plane.offloads() == []  # this model has none
        assert (await plane.set_model("hoverboard"))["from"] == "gateway"
        with pytest.raises(RunError, match="still in progress"):
            await plane.set_model("preprogrammed")
        with pytest.raises(InputError, match="unknown programming model"):
            await plane.set_model("star")

    run(story())


def report_of(b1_sends: int) -> UsageReport:
    return UsageReport("h1", 1.0, (FlowUsage(7, B1.ip, B2.ip, b1_sends, 1),))


def test_what_agents_report_is_counted_and_offloads_are_listed(tmp_path: Path) -> None:
    async def story() -> None:
        plane = ControlPlane(at(tmp_path))
        await plane.full_update([*cluster(), B1, B2])
        plane.controller.usage(report_of(b1_sends=1_000_000))
        (offload,) = await plane.offloads()
        check("offloads", [offload])
        assert (offload["src"], offload["dst"]) == ("b1", "b2")
        status = await plane.status()
        assert (status["offloads"], status["counters"]["usage_reports"], status["queues"]["fair"]) == (1, 1, True)

    run(story())


def test_a_plane_that_is_stopped_takes_nothing_back(tmp_path: Path) -> None:
    async def story() -> None:
        plane = ControlPlane(at(tmp_path))
        await plane.full_update([*cluster(), B1, B2])
        plane.controller.usage(report_of(b1_sends=1_000_000))
        await turns()
        await plane.stop()
        await later(60.0)
        assert len(plane.controller.core.policy.active) == 1

    run(story(), StillClock)


def test_a_plane_without_regions_has_every_model(tmp_path: Path) -> None:
    async def story() -> None:
        for model in ("on-demand", "active-learning"):
            assert (await ControlPlane(at(tmp_path)).set_model(model))["model"] == model

    run(story())


def test_a_policy_of_ones_own_is_used(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GOOD)

    async def story() -> None:
        settings = OffloadSettings(threshold_bps=1e9)
        plane = ControlPlane(at(tmp_path, offload=settings, offload_policy=f"{tmp_path}/mine.py:Mine"))
        policy = plane.controller.core.policy
        assert (type(policy).__name__, policy.settings) == ("Mine", settings)
        with pytest.raises(InputError, match="unknown programming model 'star'"):
            ControlPlane(at(tmp_path, model="star"))

    run(story())


def test_settings_have_the_defaults_of_the_documents(tmp_path: Path) -> None:
    settings = at(tmp_path)
    assert (settings.model, settings.offload, settings.offload_policy) == ("hoverboard", OffloadSettings(), None)
    assert (settings.fair_queues, settings.scope, settings.region) == (True, "whole", None)
    assert settings_document(settings, 0, None) == {
        "offload_threshold_bps": 20_000.0, "offload_idle_expiry_s": 30.0, "report_interval_s": 1.0,
        "offload_policy": BUILT_IN,
    }  # fmt: skip
    failed = settings_document(settings, 3, "mine.py:7: wrong")["offload_policy"]
    assert failed == {**BUILT_IN, "errors": 3, "last_error": "mine.py:7: wrong"}


# --- regions ------------------------------------------------------------------------------------------


def in_region(region: str, *entities: AnyEntity) -> list[AnyEntity]:
    return [
        one.model_copy(update={"region": region}) if isinstance(one, Host | Hoverboard) else one for one in entities
    ]


@pytest.mark.parametrize("node", [host(9), hoverboard(9)])
def test_a_regional_plane_takes_no_node_of_another_region(tmp_path: Path, node: Host | Hoverboard) -> None:
    async def story() -> None:
        plane = ControlPlane(at(tmp_path, scope="regional", region="east"))
        east = in_region("east", *cluster(), B1)
        await plane.full_update(east)
        west = in_region("west", node)
        for ask in (plane.full_update([*east, *west]), plane.diff(west, []), plane.plan(west, [])):
            with pytest.raises(EntityError, match="this is the regional control plane of east") as refused:
                await ask
            assert refused.value.where == f"{node.TYPE}/{node.name}.region"
            assert "is in region west" in refused.value.what
        await plane.diff(in_region("east", node), [])
        status = await plane.status()
        assert (status["scope"], status["region"], status["version"]) == ("regional", "east", 2)
        whole = ControlPlane(at(tmp_path))
        await whole.full_update([*east, *west])

    run(story())


def test_a_global_plane_has_a_core_that_knows_all_regions(tmp_path: Path) -> None:
    async def story() -> None:
        plane = ControlPlane(at(tmp_path, scope="global", region="east", model="preprogrammed"))
        nodes = [*in_region("east", host(1)), *in_region("west", host(2))]
        await plane.full_update([*cluster()[:4], *nodes, B1])
        found = await plane.plan([B2], [])
        assert found["switches"] == {"h1": {"added": 1, "changed": 0, "removed": 0}}  # the way into the west
        for model in ("on-demand", "active-learning"):
            with pytest.raises(InputError, match=f"model {model} does not go with regions"):
                await plane.set_model(model)
        assert (await plane.set_model("gateway"))["model"] == "gateway"

    run(story())


@pytest.mark.parametrize(("scope", "share"), [("whole", WHOLE), ("regional", REGIONAL), ("global", GLOBAL)])
def test_a_plane_reads_and_deletes_its_share_of_flows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Literal["whole", "regional", "global"], share: Share
) -> None:
    made: list[tuple[Path, Share]] = []

    class FrontEnd:
        def __init__(self, path: Path, events: object, share: Share) -> None:
            made.append((path, share))

    monkeypatch.setattr("controllers.single_process.FrontEnd", FrontEnd)

    async def story() -> None:
        ControlPlane(at(tmp_path, scope=scope, region=None if scope == "whole" else "east"))

    run(story())
    assert made == [(tmp_path / "of.sock", share)]
