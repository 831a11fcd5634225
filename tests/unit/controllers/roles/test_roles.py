"""The roles' pure parts: programs as text, intent in parts, orders of a model, terms, the roster, one document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.fm.codec import encode_entity
from controllers.fm.intent_store import Changes, IntentStore
from controllers.ofe.messages import PacketIn
from controllers.program import Flows, Program
from controllers.roles.flow_codec import decode_flows, decode_program, encode_adds, encode_deletes, encode_flows
from controllers.roles.front_end import FrontEndRole, _Controller
from controllers.roles.intent_stream import Intent
from controllers.roles.merged_status import joined, merge_status
from controllers.roles.model_order import ModelOrders
from controllers.roles.replicas import Replica, Roster
from controllers.roles.stream import Outbox
from controllers.store.port import Entry
from controllers.testing.world import World, cluster, host, hoverboard, place, ready, vm
from controllers.vmc.models import MODELS, model_named
from controllers.vmc.view.liveness import PATIENCE, Liveness
from hoverboard.contract.documents import ReplicaStatus, Switch
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import FirewallRule, LoadBalancer
from hoverboard.contract.errors import InputError, RunError
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire import fabric_pb2
from tests.unit.controllers import event_loop
from tests.waiting import until_async

OFFLOAD = fabric_pb2.OffloadSettings(threshold_bps=20_000)

# --- programs as text -----------------------------------------------------------------------------------


def busy(model: str) -> World:
    world = ready(model)
    one, two = vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3)
    place(world, one, two)
    world.diff(
        [
            FirewallRule.model_validate({"name": "f", "network": "blue", "direction": "ingress", "action": "deny"}),
            LoadBalancer.model_validate({"name": "lb", "network": "blue", "ip": "10.0.0.9", "backends": ["a", "b"]}),
        ]
    )
    world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 10_000_000)
    world.diff(remove=[("FirewallRule", "f")])
    return world


@pytest.mark.parametrize("model", sorted(MODELS))
def test_programs_are_the_same_behind_the_wire(model: str) -> None:
    world = busy(model)
    programs = [program for _, program in world.sent]
    programs += [Program(table.flows) for table in world.core.expected.tables.values()]  # blocks
    assert any(program.deletes for program in programs)
    for program in programs:
        again = decode_program(encode_deletes(program), encode_adds(program))
        assert (tuple(again.adds), again.deletes) == (tuple(program.adds), program.deletes)
        assert decode_flows(encode_flows(program.adds)) == list(program.adds)
    assert any(again.parts != tuple(again.adds) for again in [decode_program("", encode_adds(programs[-1]))])


@pytest.mark.parametrize(
    "adds",
    ["{", "{}", "[1]", "[[1,2]]", '[{"make":"__import__","arguments":["os"]}]', '[{"make":"Kind","arguments":[1]}]'],
)
def test_what_is_no_program_is_refused(adds: str) -> None:
    with pytest.raises(InputError, match="not a flow program"):
        decode_program("", adds)


# --- intent in parts ------------------------------------------------------------------------------------


def part(
    entities: list[Any], *, full: bool = False, last: bool = True, remove: list[Any] | None = None
) -> pb.FabricPart:
    refs = [fabric_pb2.EntityRef(type=kind, name=name) for kind, name in remove or []]
    return pb.FabricPart(version=1, full=full, last=last, upsert=[encode_entity(one) for one in entities], remove=refs)


def test_a_second_full_update_is_what_differs() -> None:
    intent, all_of_it = Intent(), cluster(2)
    assert intent.take(part(all_of_it[:3], full=True, last=False)) is None
    first = intent.take(part(all_of_it[3:], full=True))
    assert first is not None
    assert list(first.added) == all_of_it
    again = intent.take(part(all_of_it, full=True))
    assert again is not None
    assert not again
    gone = intent.take(part(all_of_it[:-1], full=True))
    assert gone is not None
    assert gone.removed == (all_of_it[-1],)


def test_an_update_that_broke_off_counts_for_nothing() -> None:
    intent = Intent()
    assert intent.take(part(cluster(2)[:2], full=True, last=False)) is None
    intent.begin()
    whole = intent.take(part(cluster(1), full=True))
    assert whole is not None
    assert list(whole.added) == cluster(1)
    moved = vm("a", "blue", "h1", 2).model_copy(update={"host": "h2"})
    intent.take(part([vm("a", "blue", "h1", 2)]))
    change = intent.take(part([moved], remove=[("Host", "h1"), ("Host", "never")]))
    assert change is not None
    assert change.changed == ((vm("a", "blue", "h1", 2), moved),)
    assert change.removed == (host(1),)


# --- the programming model ------------------------------------------------------------------------------


def test_no_partition_begins_a_stage_before_all_have_ended_the_last() -> None:
    sent: list[tuple[str, str]] = []
    orders = ModelOrders("hoverboard", 2, lambda order: sent.append((order.model, order.stage)))
    assert orders.waiting is None
    with pytest.raises(InputError):
        orders.begin("no-such-model")
    assert orders.begin("gateway") == "hoverboard"
    with pytest.raises(RunError, match="still in progress"):
        orders.begin("on-demand")
    number = orders.order.number
    orders.reached(0, pb.Reached(number=number, stage="gain"))
    orders.reached(0, pb.Reached(number=number, stage="gain"))
    orders.reached(1, pb.Reached(number=number, stage="hosts"))  # of another stage
    orders.reached(1, pb.Reached(number=number - 1, stage="gain"))  # of another change
    assert (sent, orders.waiting) == ([("gateway", "gain")], [1])
    for stage in ("gain", "hosts"):
        for partition in (0, 1):
            orders.reached(partition, pb.Reached(number=number, stage=stage))
    assert (sent, orders.waiting) == ([("gateway", "gain"), ("gateway", "hosts"), ("gateway", "done")], None)
    orders.reached(1, pb.Reached(number=number, stage="done"))
    assert orders.begin("gateway") == "gateway"


def test_a_change_of_the_model_waits_at_its_gate() -> None:
    asked: list[str] = []
    opened: list[str] = []

    def gate(stage: str) -> bool:
        asked.append(stage)
        return stage in opened

    world = ready("hoverboard", gate=gate)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    world.core.set_model(model_named("gateway"), world.now)
    world.work()
    for _ in range(20):
        world.pass_time(0.3)
    assert set(asked) == {"gain"}
    assert world.core.switching is not None
    opened += ["gain", "hosts"]
    for _ in range(20):
        world.pass_time(0.3)
    assert world.core.switching is None
    assert world.reaches(vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))


# --- front end ------------------------------------------------------------------------------------------


class Session:
    """A switch's session that remembers what it is sent."""

    def __init__(self, dpid: int) -> None:
        self.dpid = dpid
        self.sent: list[Program] = []
        self.out: list[bytes] = []
        self.closed = False

    async def send(self, program: Program) -> None:
        self.sent.append(program)

    async def dump(self) -> list[Flow]:
        return [flow for program in self.sent for flow in program.adds]

    def packet_out(self, in_port: int, frame: bytes) -> None:
        self.out.append(frame)

    def close(self) -> None:
        self.closed = True


def said(outbox: Outbox) -> Iterator[Any]:
    while not outbox._queue.empty():
        yield outbox._queue.get_nowait()


def test_a_front_end_refuses_a_deposed_master() -> None:
    async def run() -> None:
        role = FrontEndRole(Path("/nowhere/ofe-0.sock"), None, 1.0)  # type: ignore[arg-type]
        session = Session(datapath_id("172.16.0.1"))
        role.switch_connected(session, {"gnv": 1})
        old, new = _Controller("old"), _Controller("new")
        for controller in (old, new):
            role.join(controller)
            assert [event.WhichOneof("event") for event in said(controller.outbox)] == ["connected"]
            role.handle(controller, pb.FrontEndRequest(subscribe=pb.Subscribe(dpid=session.dpid)))
        (told,) = said(new.outbox)
        assert dict(told.subscribed.ports) == {"gnv": 1}
        list(said(old.outbox))
        program = Program(Flows(model_parts()))

        async def write(controller: _Controller, term: int, number: int) -> pb.Done:
            request = pb.ProgramRequest(
                id=number,
                switch=told.subscribed.switch,
                adds=encode_adds(program),
                term=pb.Term(partition=0, term=term),
            )
            role.handle(controller, pb.FrontEndRequest(program=request))
            while role._tasks:
                await asyncio.wait(role._tasks)
            (answer,) = said(controller.outbox)
            return answer.done

        assert not (await write(old, 3, 1)).refused
        role.handle(new, pb.FrontEndRequest(term=pb.Term(partition=0, term=4)))
        done = await write(old, 3, 2)
        assert done.deposed
        assert "term 4 has begun" in done.refused
        assert (await write(old, 0, 3)).deposed  # of no term at all
        out = pb.PacketOutRequest(switch=told.subscribed.switch, in_port=7, frame=b"x")
        for term in (3, 4):
            out.term.CopyFrom(pb.Term(partition=0, term=term))
            role.handle(old, pb.FrontEndRequest(packet_out=out))
        assert session.out == [b"x"]
        assert len(session.sent) == 1
        assert not (await write(new, 4, 4)).refused
        assert (await write(old, 3, 5)).deposed is not False
        other = pb.Term(partition=1, term=1)  # another partition's elections are its own
        assert not role._term_is_over(other)
        role.packet_in(session, PacketIn(7, 1, b"frame"))
        assert [event.packet_in.frame for event in said(new.outbox)] == [b"frame"]

    event_loop.run(run())


class Poisoned:
    """A store in which somebody has written what is not ours."""

    async def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        yield [Entry("partition/0/term", "boom", 1), Entry("partition/0", "1", 2), Entry("partition/x/term", "1", 3)]
        yield [Entry("partition/0/term", "4", 4)]
        await asyncio.Event().wait()


def test_a_front_end_ignores_terms_that_make_no_sense() -> None:
    async def run() -> None:
        role = FrontEndRole(Path("/nowhere/ofe-0.sock"), Poisoned(), 1.0)  # type: ignore[arg-type]
        following = asyncio.create_task(role._follow_terms())
        await until_async(lambda: role._terms == {0: 4})
        following.cancel()

    event_loop.run(run())


def model_parts() -> list[Any]:
    world = ready()
    return list(world.core.expected.tables["h1"].flows.parts)


def test_a_switch_that_reconnects_is_another_session() -> None:
    async def run() -> None:
        role = FrontEndRole(Path("/nowhere/ofe-0.sock"), None, 1.0)  # type: ignore[arg-type]
        first, second = Session(5), Session(5)
        role.switch_connected(first, {})
        controller = _Controller("one")
        role.join(controller)
        role.handle(controller, pb.FrontEndRequest(subscribe=pb.Subscribe(dpid=5)))
        before = [event for event in said(controller.outbox) if event.HasField("subscribed")][0].subscribed.switch
        role.switch_connected(second, {"vp": 9})
        assert first.closed
        role.switch_disconnected(first)  # late: it is not the switch's session any more
        role.port_changed(second, "vp", None)
        told = list(said(controller.outbox))
        assert [event.WhichOneof("event") for event in told] == ["subscribed", "port"]
        role.handle(controller, pb.FrontEndRequest(close=before))
        assert not second.closed
        role.agent_event("h1", fabric_pb2.HostEvent(hello=fabric_pb2.Hello(node="h1", dpid=6)))
        assert list(said(controller.outbox)) == []  # no subscriber of that host's switch
        role.handle(controller, pb.FrontEndRequest(subscribe=pb.Subscribe(dpid=6)))
        (agent,) = said(controller.outbox)
        assert agent.agent.node == "h1"

    event_loop.run(run())


# --- fabric manager -------------------------------------------------------------------------------------


def test_a_late_member_receives_what_the_others_received() -> None:
    async def run() -> None:
        fabric, roster = IntentStore(), Roster(1, "hoverboard", OFFLOAD)
        early, late = Replica(0, 0, 1), Replica(0, 1, 2)
        roster.join(early)
        first = asyncio.ensure_future(roster.broadcast(fabric.full_update(cluster(2))))
        await asyncio.sleep(0)
        roster.received(early, pb.ControllerReport(standing=pb.Standing(master=True, term=1)))
        waits_in_a_queue = fabric.diff([vm("a", "blue", "h1", 2)], [])
        roster.join(late)
        told = {one: [event.part for event in said(one.outbox) if event.HasField("part")] for one in (early, late)}
        assert told[early] == told[late]
        assert all(one.full and one.last for one in told[late])
        for one in (late, early):  # only the master's word counts
            assert not first.done()
            applied = pb.Applied(number=told[one][0].number, version=1, switches=["h1"])
            roster.received(one, pb.ControllerReport(applied=applied))
            await asyncio.sleep(0)
        assert await first == ["h1"]
        assert [event.applied for event in said(late.outbox)] == [told[early][0].number]  # a standby may forget it
        second = asyncio.ensure_future(roster.broadcast(waits_in_a_queue))
        await asyncio.sleep(0)
        (diff,) = [event.part for event in said(late.outbox)]
        assert (diff.full, [one.type for one in diff.upsert]) == (False, ["VM"])
        list(said(early.outbox))
        roster.leave(early)
        (suspect,) = said(late.outbox)
        assert suspect.suspect.term == 1
        assert await second == []  # there was no master
        assert await roster.broadcast(Changes(2)) == []

    event_loop.run(run())


def test_one_document_of_all_partitions() -> None:
    def master(name: str, switching: str | None = None) -> ReplicaStatus:
        switch: Switch = {
            "connected": True, "agent": True, "sync": "synced", "flows": 3, "programmed": True, "errors": 0,
            "last_error": "",
        }  # fmt: skip
        return {
            "model": "gateway", "switching": switching, "lookups": 1, "hoverboards_down": ["hv1"],
            "switches": {name: switch}, "joined": 3, "offloads": 1, "counters": {"usage_reports": 2},
            "front_ends": 1, "term": 4,
        }  # fmt: skip

    masters = [master("h1"), master("h2", "gain: hv1")]
    found = merge_status(["h2", "h1", "orphan"], masters)
    assert list(found["switches"]) == ["h1", "h2", "orphan"]
    assert found["switches"]["orphan"]["programmed"] is False
    assert (joined(masters), found["lookups"], found["offloads"], found["switching"]) == (6, 2, 2, "gain: hv1")
    assert (found["hoverboards_down"], found["counters"]) == (["hv1"], {"usage_reports": 4})
    assert merge_status([], [])["switching"] is None


# --- VM controller --------------------------------------------------------------------------------------


def test_a_line_that_breaks_says_nothing_of_hoverboards() -> None:
    liveness = Liveness()
    for name in ("hv1", "hv2"):
        liveness.watch(name, 0.0)
        for one in ("switch", "agent"):
            liveness.connection_up(name, one, 0.0)
    liveness.front_end_lost("hv1", 1.0)
    liveness.front_end_lost("hv1", 1.0)
    assert not liveness.tick(1.0 + PATIENCE / 2)
    liveness.connection_up("hv1", "switch", 2.0)
    assert liveness.deadline() is None
    liveness.front_end_lost("hv1", 3.0)
    assert liveness.tick(3.0 + PATIENCE)
    assert liveness.down == {"hv1"}


def test_a_controller_whose_line_breaks_keeps_what_it_knows() -> None:
    world = ready("hoverboard", hoverboards=2)
    place(world, vm("a", "blue", "h1", 2), vm("b", "blue", "h2", 3))
    before, sent = world.tables(), len(world.sent)
    for node in (hoverboard(1), host(1)):
        dpid = datapath_id(node.underlay_ip)
        world.core.switch_disconnected(dpid, world.core.switches[dpid].generation, world.now, reported=False)
        world.core.agent_gone(node.name, world.now, reported=False)
    world.pass_time(1.0)
    assert len(world.sent) == sent
    for node in (hoverboard(1), host(1)):
        ports = world.core.switches[datapath_id(node.underlay_ip)].ports
        world.connect(node, dict(ports))
        world.hello(node.name, {"a": "vp-a"} if node.name == "h1" else {})
    assert (world.tables(), len(world.sent)) == (before, sent)
    assert world.core.counters["hoverboards_lost"] == 0
