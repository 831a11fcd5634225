"""A running VM controller over time: usage, timers, mastership, and the documents that people read."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from controllers.testing.world import START, host, vm
from hoverboard.contract.errors import InputError, RunError, SwitchError
from hoverboard.contract.reports import FlowUsage, UsageReport
from tests.unit.controllers.event_loop import later, turns
from tests.unit.controllers.vmc.controller_rig import B1, B2, Rig, asks, story

# --- usage and time -----------------------------------------------------------------------------------


def busy(rig: Rig) -> None:
    rig.controller.usage(UsageReport("h1", 1.0, (FlowUsage(7, B1.ip, B2.ip, 10_000, 1),)))


@story()
async def test_an_offload_is_made_shown_and_withdrawn_by_the_clock(rig: Rig) -> None:
    busy(rig)
    await turns()
    assert len(rig.sessions["h1"].sent) == 1
    await later(2.0)
    busy(rig)
    await later(0.25)
    assert rig.controller.offloads() == [
        {
            "network": "blue", "src": "b1", "dst": "b2", "src_host": "h1", "dst_host": "h2",
            "since": 1_999_999_997.873, "rate_bps": 80_000,
        }
    ]  # fmt: skip
    await later(29.5)
    assert len(rig.policy.active) == 1
    await later(0.5)
    assert (len(rig.policy.active), rig.controller.offloads()) == (0, [])
    assert rig.right()


@story()
async def test_a_timer_follows_the_earliest_that_is_due(rig: Rig) -> None:
    busy(rig)
    await turns()
    rig.controller.agent_gone("hv1")  # due earlier than the offload
    await turns()
    await later(0.1)
    assert rig.core.counters["hoverboards_lost"] == 1
    await later(30.0)
    assert not rig.policy.active


@story()
async def test_what_is_stopped_does_nothing_any_more(rig: Rig) -> None:
    busy(rig)
    await turns()
    hv1 = rig.sessions["hv1"]
    hv1.held = asyncio.Event()
    sending = asyncio.ensure_future(rig.diff(vm("b3", "blue", "h1", 9)))
    await turns()
    rig.controller.stop()
    hv1.held.set()
    await later(60.0)
    assert sending.done()
    assert len(rig.policy.active) == 1
    assert rig.of("hv1").outstanding == 1


# --- mastership ---------------------------------------------------------------------------------------


@story(active=False)
async def test_a_standby_begins_to_program_when_it_is_elected_and_stops_when_it_is_deposed(rig: Rig) -> None:
    assert [session.reads for session in rig.sessions.values()] == [0, 0, 0]
    change = rig.fabric.diff([vm("b3", "blue", "h1", 9)], [])
    assert await rig.controller.changed(change, complete=True, number=7) == ["hv1"]
    rig.controller.activate()
    await turns()
    assert [session.reads for session in rig.sessions.values()] == [1, 1, 1]
    first = rig.sessions["hv1"].sent[0]
    assert len(first) == 1  # what its master may not have got done comes before the read
    assert rig.right()
    rig.controller.deactivate()
    for session in rig.sessions.values():
        session.sent.clear()
    await rig.diff(vm("b4", "blue", "h1", 10))
    assert all(session.sent == [] for session in rig.sessions.values())
    rig.controller.port_changed(rig.sessions["h1"], "vp-b1", 123)
    assert rig.core.view.ports["b1"] == 123
    rig.controller.activate()
    await turns()
    assert rig.right()
    rig.controller.switch_disconnected(rig.sessions["h2"])
    assert not rig.of("h2").connected


@story(active=False)
async def test_an_update_is_missed_for_three_seconds(rig: Rig) -> None:
    await rig.controller.changed(rig.fabric.diff([vm("b3", "blue", "h1", 9)], []), complete=True, number=7)
    await later(3.5)
    rig.controller.activate()
    rig.sessions["hv1"].held = asyncio.Event()
    await turns()
    assert rig.sessions["hv1"].sent == []


# --- documents ----------------------------------------------------------------------------------------


@story()
async def test_a_change_of_the_model_is_shown_and_continues_by_the_clock(rig: Rig) -> None:
    with pytest.raises(InputError, match="unknown programming model 'star'") as refused:
        rig.controller.set_model("star")
    assert refused.value.where == "SetModel"
    found = rig.controller.set_model("gateway")
    assert found == {
        "from": "hoverboard", "model": "gateway", "switching": "gain: settling", "lookups": 0, "hoverboards_down": [],
    }  # fmt: skip
    with pytest.raises(RunError, match="still in progress"):
        rig.controller.set_model("preprogrammed")
    await later(0.5)
    assert rig.controller.model_document()["switching"] == "hosts: settling"
    await later(1.0)
    assert rig.controller.model_document()["switching"] is None
    rig.controller.set_model("preprogrammed")
    assert rig.sessions["h1"].sent == []
    await later(0.5)
    assert len(rig.sessions["h1"].sent) == 1
    await later(1.0)
    assert rig.right()


@story("on-demand")
async def test_a_model_is_begun_before_the_call_returns(rig: Rig) -> None:
    asks(rig, rig.sessions["h1"])
    await turns()
    rig.controller.set_model("gateway")
    assert rig.of("hv1").outstanding == 1
    rig.controller.agent_gone("hv1")
    rig.core.view.down = {"hv1"}
    assert rig.controller.model_document() == {
        "model": "gateway", "switching": "gain: hv1", "lookups": 1, "hoverboards_down": ["hv1"],
    }  # fmt: skip


@story()
async def test_switches_are_shown_with_what_is_known_of_them(rig: Rig) -> None:
    tables = rig.core.expected.tables
    whole = {
        name: {
            "connected": True, "agent": True, "sync": "synced", "flows": len(tables[name]), "programmed": True,
            "errors": 0, "last_error": "",
        }
        for name in ("h1", "h2", "hv1")
    }  # fmt: skip
    assert rig.controller.switches() == whole
    assert list(rig.controller.switches()) == ["h1", "h2", "hv1"]
    hv1 = rig.sessions["hv1"]
    hv1.held = asyncio.Event()
    sending = asyncio.ensure_future(rig.diff(vm("b3", "blue", "h1", 9), host(3)))
    await turns()
    shown = rig.controller.switches()
    assert (shown["hv1"]["programmed"], shown["hv1"]["sync"]) == (False, "synced")
    assert shown["h3"] == {
        "connected": False, "agent": False, "sync": "away", "flows": len(tables["h3"]), "programmed": False,
        "errors": 0, "last_error": "",
    }  # fmt: skip
    hv1.fault = SwitchError("table full")
    hv1.held.set()
    await sending
    await turns()
    rig.controller.agent_gone("h2")
    rig.controller.switch_disconnected(rig.sessions["h2"])
    shown = rig.controller.switches()
    assert (shown["hv1"]["programmed"], shown["hv1"]["errors"], shown["hv1"]["last_error"]) == (False, 1, "table full")
    assert (shown["h2"]["connected"], shown["h2"]["agent"], shown["h2"]["sync"]) == (False, False, "away")
    assert not shown["h2"]["programmed"]


@story()
async def test_a_program_under_way_is_kept_alive_and_forgotten_when_it_is_done(rig: Rig) -> None:
    hv1 = rig.sessions["hv1"]
    tasks: list[weakref.ref[Any]] = []
    ends: list[weakref.ref[Any]] = []

    async def answer() -> None:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tasks.append(weakref.ref(asyncio.current_task()))
        ends.append(weakref.ref(end))
        await end  # which the task alone holds

    hv1._answer = answer  # type: ignore[method-assign]
    rig.core.fabric_changed(rig.fabric.diff([vm("b3", "blue", "h1", 9)], []), complete=True, now=START)
    rig.controller.schedule()
    await turns()
    gc.collect()
    end = ends[0]()
    assert end is not None
    end.set_result(None)
    del end
    await turns()
    gc.collect()
    assert tasks[0]() is None
    assert rig.right()
