"""A running VM controller: events in, work to the sessions of switches, timers, and whom it believes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from control_plane_world import START, cluster, ethernet, host, hoverboard, vm
from event_loop import StillClock, later, run, turns

from controllers.controller import Controller
from controllers.fm.fabric import Fabric
from controllers.ofe.fake import FakeSwitch, ipv4_packet
from controllers.ofe.frontend import Deposed
from controllers.ofe.messages import PacketIn
from controllers.program import Program
from controllers.vmc.core import ControllerCore
from controllers.vmc.facts import Sync
from controllers.vmc.models import model_named
from controllers.vmc.offload import OffloadPolicy
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import Host, Hoverboard
from hoverboard.contract.errors import InputError, RunError, SwitchError
from hoverboard.contract.flow import Flow
from hoverboard.contract.pipeline import Kind, cookie
from hoverboard.contract.reports import FlowUsage, UsageReport

B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
NODES = (host(1), host(2), hoverboard(1))
EPOCH = 2_000_000_000.123456


class Session:
    """One connection of a switch; a test may hold its answers back, or let it fail."""

    def __init__(self, node: Host | Hoverboard) -> None:
        self.dpid = datapath_id(node.underlay_ip)
        self.switch = FakeSwitch()
        self.sent: list[Program] = []
        self.out: list[tuple[int, bytes]] = []
        self.reads = 0
        self.closed = False
        self.held: asyncio.Event | None = None
        self.fault: Exception | None = None

    async def _answer(self) -> None:
        if self.held is not None:
            await self.held.wait()
        if self.fault is not None:
            raise self.fault

    async def send(self, program: Program) -> None:
        self.sent.append(program)
        await self._answer()
        self.switch.apply(program)

    async def dump(self) -> list[Flow]:
        self.reads += 1
        await self._answer()
        return self.switch.dump()

    def packet_out(self, in_port: int, frame: bytes) -> None:
        self.out.append((in_port, frame))

    def close(self) -> None:
        self.closed = True


class Rig:
    """A controller whose nodes are connected, or are not yet."""

    def __init__(self, model: str = "hoverboard", *, active: bool = True) -> None:
        self.fabric, self.policy, self.deposed = Fabric(), OffloadPolicy(), 0
        self.core = ControllerCore(model_named(model), self.policy, active=active)
        self.controller = Controller(self.core, self.policy, self._count, lambda: EPOCH)
        self.sessions = {node.name: Session(node) for node in NODES}

    def _count(self) -> None:
        self.deposed += 1

    async def start(self) -> Rig:
        await self.controller.changed(self.fabric.full_update([*cluster(), B1, B2]), complete=True)
        for node in NODES:
            bound = {one.name: f"vp-{one.name}" for one in (B1, B2) if one.host == node.name}
            ports = {vport: 100 for vport in bound.values()}
            self.controller.switch_connected(self.sessions[node.name], ports)
            self.controller.agent_hello(node.name, bound)
        await turns()
        for session in self.sessions.values():
            session.sent.clear()
        return self

    async def diff(self, *upsert: Any) -> list[str]:
        return await self.controller.changed(self.fabric.diff(upsert, []), complete=True)

    def right(self) -> bool:
        """Whether the switches hold what they should."""
        tables = self.core.expected.tables
        return all(session.switch.flows == tables[name].whole() for name, session in self.sessions.items())

    def of(self, name: str) -> Any:
        return self.core.switches[self.sessions[name].dpid]


def story(
    model: str = "hoverboard", **options: bool
) -> Callable[[Callable[[Rig], Awaitable[None]]], Callable[[], None]]:
    """A test that is told about a rig which has started, on a clock that stands still."""

    def decorate(tell: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
        async def whole() -> None:
            rig = await Rig(model, **options).start()
            await tell(rig)
            rig.controller.stop()

        def test() -> None:
            run(whole(), StillClock)

        test.__name__, test.__doc__ = tell.__name__, tell.__doc__
        return test

    return decorate


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
async def test_a_master_that_is_deposed_is_told_so(rig: Rig) -> None:
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
        controller, session = Controller(core, OffloadPolicy()), Session(host(1))
        session.fault = Deposed("term 5 has begun")
        core.fabric_changed(Fabric().full_update(cluster()), complete=True, now=START)
        controller.switch_connected(session, {})
        controller.agent_hello("h1", {})
        await turns()
        assert session.reads == 1
        controller.stop()

    run(whole(), StillClock)


# --- packets that asked -------------------------------------------------------------------------------


def asks(rig: Rig, session: Session) -> bytes:
    frame = ethernet(ipv4_packet(B1.mac, int(B1.ip), int(B2.ip)))
    rig.controller.packet_in(session, PacketIn(100, cookie(Kind.PUNT, 7), frame))
    return frame


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
    rig.controller.line_lost([hv1], ["hv1"])
    assert not rig.of("hv1").connected
    assert "hv1" not in rig.core.agents.online
    await later(4.0)
    assert rig.core.view.down == set()
    await later(1.0)
    assert rig.core.counters["hoverboards_lost"] == 1
    rig.controller.line_lost([hv1, Session(host(1))], [])  # of no session that there is
    assert rig.of("h1").connected
    rig.controller.switch_connected(hv1, {})
    await turns()
    assert (rig.of("hv1").connected, hv1.closed) == (True, False)
    rig.controller.switch_disconnected(h1)
    assert not rig.of("h1").connected


@story()
async def test_a_lost_line_to_a_switch_alone_says_nothing_of_it_either(rig: Rig) -> None:
    rig.controller.line_lost([rig.sessions["hv1"]], [])
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


# --- usage and time -----------------------------------------------------------------------------------


def busy(rig: Rig) -> None:
    rig.controller.usage(UsageReport("h1", 1.0, (FlowUsage(7, B1.ip, B2.ip, 10_000, 1),)))


@story()
async def test_an_offload_is_made_told_and_taken_back_by_the_clock(rig: Rig) -> None:
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
async def test_a_change_of_the_model_is_told_and_goes_on_by_the_clock(rig: Rig) -> None:
    with pytest.raises(InputError, match="unknown programming model 'star'") as refused:
        rig.controller.set_model("star")
    assert refused.value.where == "SetModel"
    found = rig.controller.set_model("gateway")
    assert found == {
        "from": "hoverboard", "model": "gateway", "switching": "gain: settling", "lookups": 0, "hoverboards_down": [],
    }  # fmt: skip
    with pytest.raises(RunError, match="still under way"):
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
