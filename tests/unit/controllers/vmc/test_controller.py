"""A running VM controller: events in, work to the sessions of switches, and which session it believes."""

from __future__ import annotations

import asyncio

from controllers.fm.intent_store import IntentStore
from controllers.ofe.switch_interface import Deposed
from controllers.testing.world import START, cluster, host, vm
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.view.facts import Sync
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.errors import SwitchError
from tests.unit.controllers.event_loop import StillClock, later, run, turns
from tests.unit.controllers.vmc.controller_rig import Rig, Session, asks, story

# --- work goes out ------------------------------------------------------------------------------------


@story()
async def test_switches_are_read_and_hold_what_they_should(rig: Rig) -> None:
    assert [session.reads for session in rig.sessions.values()] == [1, 1, 1]
    assert rig.right()
    assert await rig.diff(vm("b3", "blue", "h1", 9)) == ["hv1"]
    assert rig.right()
    assert await rig.diff(vm("g1", "green", "h2", 9), vm("b4", "blue", "h2", 10)) == ["h2", "hv1"]


@story()
async def test_an_answer_waits_for_the_switches_and_not_for_a_dead_one(rig: Rig) -> None:
    hv1 = rig.sessions["hv1"]
    hv1.held = asyncio.Event()
    waiting = asyncio.ensure_future(rig.diff(vm("b3", "blue", "h1", 9)))
    await turns()
    assert (waiting.done(), rig.of("hv1").outstanding) == (False, 1)
    hv1.held.set()
    await turns()
    assert (waiting.result(), rig.of("hv1").outstanding) == (["hv1"], 0)
    hv1.held = asyncio.Event()
    waiting = asyncio.ensure_future(rig.diff(vm("b4", "blue", "h1", 10)))
    await turns()
    await later(0.09)
    assert not waiting.done()
    await later(0.01)
    assert waiting.result() == ["hv1"]
    hv1.held.set()
    await turns()
    assert rig.right()


@story()
async def test_events_that_come_together_are_one_program(rig: Rig) -> None:
    await rig.diff(vm("b3", "blue", "h1", 9), vm("b4", "blue", "h1", 10))
    for session in rig.sessions.values():
        session.sent.clear()
    h1 = rig.sessions["h1"]
    for name, port in (("b3", 150), ("b4", 151)):
        rig.controller.agent_bound("h1", name, f"vp-{name}")
        rig.controller.port_changed(h1, f"vp-{name}", port)
    assert h1.sent == []
    taken, take = [], rig.core.take
    rig.core.take = lambda: taken.append(take()) or taken[-1]  # type: ignore[method-assign, func-returns-value]
    await turns()
    assert len(h1.sent) == 1
    assert len(taken) == 2  # for what came, and for the answer
    assert rig.right()
    rig.controller.agent_unbound("h1", "b3")
    await turns()
    assert len(h1.sent) == 2
    rig.controller.agent_bound("h1", "b3", "vp-b3")
    await turns()
    assert len(h1.sent) == 3
    rig.controller.port_changed(h1, "vp-b4", None)
    await turns()
    assert len(h1.sent) == 4
    rig.controller.agent_unbound("h1", "b3")
    await turns()
    assert set(rig.core.view.ports) == {"b1", "b2"}
    assert rig.right()


@story()
async def test_a_refusal_is_kept_and_tried_again_when_its_pause_is_over(rig: Rig) -> None:
    hv1 = rig.sessions["hv1"]
    hv1.fault = SwitchError("table full")
    await rig.diff(vm("b3", "blue", "h1", 9))
    await turns()
    assert (rig.of("hv1").last_error, rig.of("hv1").sync) == ("table full", Sync.FAILED)
    hv1.fault = None
    await later(0.9)
    assert not rig.right()
    await later(0.1)
    assert (rig.right(), hv1.reads, hv1.closed) == (True, 2, False)


@story()
async def test_a_switch_that_does_not_answer_a_read_is_hung_up_on(rig: Rig) -> None:
    again = Session(host(1))
    again.fault = SwitchError("no answer")
    rig.controller.switch_connected(again, {})
    await turns()
    assert (again.reads, again.closed, again.sent) == (1, True, [])
    assert rig.of("h1").sync is Sync.READING
    assert rig.deposed == 0


@story()
async def test_a_deposed_master_is_notified(rig: Rig) -> None:
    rig.sessions["hv1"].fault = Deposed("term 5 has begun")
    await rig.diff(vm("b3", "blue", "h1", 9))
    await turns()
    assert (rig.deposed, rig.of("hv1").errors) == (1, 0)
    again = Session(host(1))
    again.fault = Deposed("term 5 has begun")
    rig.controller.switch_connected(again, {})
    await turns()
    assert (rig.deposed, again.closed) == (2, False)


def test_a_controller_without_an_election_is_not_deposed() -> None:
    async def whole() -> None:
        core = ControllerCore(model_named("hoverboard"), OffloadPolicy())
        controller, session = Controller(core), Session(host(1))
        session.fault = Deposed("term 5 has begun")
        core.fabric_changed(IntentStore().full_update(cluster()), complete=True, now=START)
        controller.switch_connected(session, {})
        controller.agent_hello("h1", {})
        await turns()
        assert session.reads == 1
        controller.stop()

    run(whole(), StillClock)


# --- packets that asked -------------------------------------------------------------------------------


@story("on-demand")
async def test_a_packet_that_asked_goes_on_by_the_session_that_it_came_from(rig: Rig) -> None:
    h1 = rig.sessions["h1"]
    frame = asks(rig, h1)
    await turns()
    assert h1.out == [(100, frame)]
    assert rig.right()
    h1.out.clear()
    asks(rig, h1)
    later_one = Session(host(1))
    rig.controller.switch_connected(later_one, {"vp-b1": 100})  # before the packet went
    asks(rig, h1)  # of a session that is over
    await turns()
    assert (h1.out, later_one.out) == ([], [])
    assert rig.core.counters["packets_in"] == 2


# --- sessions -----------------------------------------------------------------------------------------


@story()
async def test_a_newer_session_replaces_the_older_whose_late_events_are_ignored(rig: Rig) -> None:
    old, new = rig.sessions["h1"], Session(host(1))
    rig.controller.switch_connected(new, {"vp-b1": 100})
    assert (old.closed, new.closed) == (True, False)
    rig.controller.switch_disconnected(old)
    rig.controller.port_changed(old, "vp-b1", 7)
    await turns()
    assert rig.of("h1").connected
    assert rig.core.view.ports["b1"] == 100
    rig.sessions["h1"] = new
    assert rig.right()
    rig.controller.switch_disconnected(new)
    assert not rig.of("h1").connected
    rig.controller.switch_disconnected(new)
    rig.controller.port_changed(new, "vp-b1", 7)
    assert rig.core.view.ports["b1"] == 100
    await rig.diff(vm("g1", "green", "h1", 9))
    assert len(new.sent) == 1  # what it was sent when it was read


@story()
async def test_a_program_for_a_session_that_is_over_is_not_sent(rig: Rig) -> None:
    h1, hv1 = rig.sessions["h1"], rig.sessions["hv1"]
    rig.core.fabric_changed(rig.fabric.diff([vm("g1", "green", "h1", 9)], []), complete=True, now=START)
    rig.controller.schedule()
    rig.core.switch_connected(h1.dpid, {}, START)  # as of another session
    await turns()
    assert (h1.sent, len(hv1.sent)) == ([], 1)
    rig.core.fabric_changed(rig.fabric.diff([host(3)], []), complete=True, now=START)
    rig.core.switch_connected(datapath_id(host(3).underlay_ip), {}, START)
    rig.core.agent_hello("h3", {}, START)
    assert rig.controller.flush() == ({"h3"}, [])  # a switch without a session


@story()
async def test_a_lost_line_says_nothing_of_the_nodes_behind_it(rig: Rig) -> None:
    h1, hv1 = rig.sessions["h1"], rig.sessions["hv1"]
    rig.controller.front_end_lost([hv1], ["hv1"])
    assert not rig.of("hv1").connected
    assert "hv1" not in rig.core.agents.online
    await later(4.0)
    assert rig.core.view.down == set()
    await later(1.0)
    assert rig.core.counters["hoverboards_lost"] == 1
    rig.controller.front_end_lost([hv1, Session(host(1))], [])  # of no session that there is
    assert rig.of("h1").connected
    rig.controller.switch_connected(hv1, {})
    await turns()
    assert (rig.of("hv1").connected, hv1.closed) == (True, False)
    rig.controller.switch_disconnected(h1)
    assert not rig.of("h1").connected


@story()
async def test_a_lost_line_to_a_switch_alone_says_nothing_of_it_either(rig: Rig) -> None:
    rig.controller.front_end_lost([rig.sessions["hv1"]], [])
    await later(4.0)
    assert rig.core.counters["hoverboards_lost"] == 0
    await later(1.0)
    assert rig.core.counters["hoverboards_lost"] == 1


@story()
async def test_a_hoverboard_whose_agent_or_switch_is_gone_is_left_out_after_a_moment(rig: Rig) -> None:
    for gone, back in (
        (lambda: rig.controller.agent_gone("hv1"), lambda: rig.controller.agent_hello("hv1", {})),
        (
            lambda: rig.controller.switch_disconnected(rig.sessions["hv1"]),
            lambda: rig.controller.switch_connected(rig.sessions["hv1"], {}),
        ),
    ):
        lost = rig.core.counters["hoverboards_lost"]
        gone()
        await later(0.05)
        assert rig.core.counters["hoverboards_lost"] == lost
        await later(0.05)
        assert rig.core.counters["hoverboards_lost"] == lost + 1
        back()
        await later(1.0)
        assert rig.core.view.down == set()
