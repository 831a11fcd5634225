"""Packets that asked and the answers to them, VMs that are plugged in later, and what a standby keeps back."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controllers.program import Program
from controllers.testing.fake_switch import ipv4_packet
from controllers.testing.world import (
    START,
    World,
    cluster,
    ethernet,
    host,
    hoverboard,
    place,
    ready,
    route,
    vm,
)
from controllers.vmc.core import ControllerCore
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy
from controllers.vmc.view.facts import Sync
from hoverboard.contract.encapsulation import datapath_id
from hoverboard.contract.entities import LoadBalancer
from hoverboard.contract.openflow.pipeline import Kind, cookie, kind_of

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


# --- packets that asked ---------------------------------------------------------------------------------


def asks(world: World, last: int = 3, *, port: int = 100, dpid: int = H1) -> bytes:
    frame = ethernet(ipv4_packet(B1.mac, int(B1.ip), int(IPv4Address(f"10.0.0.{last}"))))
    generation = world.core.switches[dpid].generation if dpid in world.core.switches else 1
    world.core.packet_in(dpid, generation, port, cookie(Kind.PUNT, 7), frame, world.now)
    return frame


def test_a_packet_goes_on_when_the_answer_is_in_the_switch() -> None:
    world = running("on-demand")
    first = asks(world)
    work = world.core.take()
    ((dpid, generation, program),) = work.programs
    assert (dpid, work.packets) == (H1, [])
    second = asks(world)  # while the answer is under way
    assert world.core.take().packets == []
    world.net.switches["h1"].apply(program)
    world.core.program_done(dpid, generation)
    assert world.core.take().packets == [(H1, generation, 100, first), (H1, generation, 100, second)]
    third = asks(world, port=101)  # the answer is there: at once
    assert world.core.take().packets == [(H1, generation, 101, third)]


def test_packets_wait_until_all_that_is_under_way_is_done() -> None:
    world = running("on-demand")
    asks(world)
    one = world.core.take().programs
    asks(world, 77)  # is answered, and goes nowhere
    other = world.core.take().programs
    world.core.program_done(*one[0][:2])
    assert world.core.take().packets == []
    world.core.program_done(*other[0][:2])
    assert len(world.core.take().packets) == 1


def test_packets_of_a_connection_that_ended_go_nowhere_and_the_next_may_ask_as_much_again() -> None:
    world = running("on-demand")
    for _ in range(30):
        asks(world)
    assert world.core.counters["packets_in_limited"] == 5
    assert world.core.take().programs
    world.core.switch_disconnected(H1, world.core.switches[H1].generation, world.now)
    world.connect(host(1), {"vp-b1": 100})
    assert world.core.take().packets == []
    asks(world)
    assert world.core.counters["packets_in_limited"] == 5


def test_no_answer_where_hosts_do_not_ask_or_the_switch_is_not_read_yet() -> None:
    world = running("gateway")
    asks(world)
    assert world.core.counters["packets_in"] == 0
    world = running("on-demand")
    world.core.switch_connected(H1, {"vp-b1": 100}, world.now)
    asks(world)
    stranger = datapath_id(host(9).underlay_ip)
    world.core.switch_connected(stranger, {}, world.now)
    world.core.switches[stranger].sync = Sync.SYNCED
    asks(world, dpid=stranger)
    assert world.core.counters["packets_in"] == 0


# --- joins ----------------------------------------------------------------------------------------------


def test_a_route_is_delivered_when_its_next_hop_is_plugged_in_later() -> None:
    world = running()
    world.diff([B3, route("r", "blue", "192.168.7.0/24", "b3")])
    assert world.send(B2, "192.168.7.9").delivered == ()
    world.bind("h1", "b3", "vp-b3")
    world.port(host(1), "vp-b3", 150)
    assert world.send(B2, "192.168.7.9").delivered == (("h1", 150),)
    assert world.send(B3, int(B2.ip), "192.168.7.9").delivered == (("h2", world.core.view.ports["b2"]),)


def test_a_load_balancers_share_is_served_when_its_backend_is_plugged_in_later() -> None:
    world = running()
    b4 = vm("b4", "blue", "h2", 9)
    world.diff([b4, LB.model_copy(update={"backends": ("b4",)})])
    assert world.send(B1, "10.0.0.99").dropped == ("no-such-vm",)
    world.bind("h2", "b4", "vp-b4")
    world.port(host(2), "vp-b4", 150)
    assert world.send(B1, "10.0.0.99").delivered == (("h2", 150),)


def test_a_host_that_asked_about_a_vm_of_its_own_hears_when_that_is_plugged_in() -> None:
    world = running("on-demand")
    world.diff([B3])
    assert world.travel(B1, B3).delivered == ()
    assert world.travel_as_it_is(B1, B3).dropped == ("unknown-destination",)
    assert world.core.deadline() == world.now + 5.0
    world.bind("h1", "b3", "vp-b3")
    world.port(host(1), "vp-b3", 150)
    assert world.travel_as_it_is(B1, B3).delivered == (("h1", 150),)
    kinds = {kind_of(flow.cookie) for flow in world.tables()["h1"].values()}
    assert Kind.DROP_UNKNOWN_DESTINATION not in kinds


def test_intent_alone_turns_an_answer_around() -> None:
    world = running("on-demand")
    world.send(B1, "10.0.0.9")
    assert world.send(B1, "10.0.0.9").dropped == ("unknown-destination",)
    world.diff([vm("b9", "blue", "h2", 9)])
    assert world.send(B1, "10.0.0.9").dropped == ("no-such-vm",)  # its host knows that it is not plugged in
    assert world.core.counters["packets_in"] == 1


# --- who is not the master ------------------------------------------------------------------------------


def test_a_controller_that_is_deposed_drops_what_it_was_about_to_do() -> None:
    world = ready()
    generation = world.core.switch_connected(H1, {}, world.now)
    world.core.take()
    world.core.switch_connected(H2, {}, world.now)
    world.core.fabric_changed(world.fabric.diff([B1], []), complete=True, now=world.now)
    world.core.switch_flows(H1, generation, [], world.now)
    world.core.deactivate()
    work = world.core.take()
    assert (work.reads, work.programs) == ([], [])
    assert "hv1" in work.changed


def test_answers_to_a_master_that_was_deposed_and_elected_again_count_for_nothing() -> None:
    world = ready()
    generation = world.core.switch_connected(H1, {}, world.now)
    assert world.core.take().reads == [(H1, generation)]
    world.core.deactivate()
    world.core.activate(world.now)
    before = counted(world)
    world.core.switch_flows(H1, generation, [], world.now)
    assert counted(world) == before
    ((dpid, again), *_) = [read for read in world.core.take().reads if read[0] == H1]
    assert (dpid, again) == (H1, generation + 1)


def test_programs_under_way_and_refusals_are_forgotten_with_mastership() -> None:
    world = ready()
    sent_to(world, B1)
    world.refuse = {"h1"}
    place(world, B1)
    assert world.core.deadline() is not None
    world.core.deactivate()
    assert world.core.deadline() is None
    assert outstanding(world) == (0, Sync.WAITING)
    world.refuse = set()
    world.core.activate(world.now)
    world.work()
    assert outstanding(world) == (0, Sync.SYNCED)
    assert world.tables() == world.expected()


def test_an_elected_standby_sends_nothing_to_a_switch_whose_agent_it_has_not_heard() -> None:
    core, fabric = young(active=False), World().fabric
    core.fabric_changed(fabric.full_update(cluster()), complete=True, now=START)
    core.switch_connected(HV1, {}, START)
    core.activate(START)
    core.fabric_changed(fabric.diff([B1], []), complete=True, now=START)
    work = core.take()
    assert (work.reads, work.programs) == ([], [])
    core.agent_hello("hv1", {}, START)
    work = core.take()
    assert (work.reads, work.programs) == ([(HV1, 1)], [])
    core.fabric_changed(fabric.diff([B2], []), complete=True, now=START)
    assert [dpid for dpid, _, _ in core.take().programs] == [HV1]  # its master has kept it in step


@pytest.mark.parametrize("first", ["fact", "update"])
def test_what_a_standby_heard_of_ports_is_no_part_of_an_update(first: str) -> None:
    """Only updates that the master did not get done are sent before a switch is read; ports the read shows."""
    world = running()
    world.diff([B3])
    world.bind("h1", "b3", "vp-b3")
    world.core.deactivate()
    change = world.fabric.diff([vm("b4", "blue", "h2", 9)], [])
    if first == "update":
        world.core.fabric_changed(change, complete=True, now=world.now, number=5)
        world.core.take()
    world.core.port_changed(H1, "vp-b3", 150)
    if first == "fact":
        world.core.fabric_changed(change, complete=True, now=world.now, number=5)
    world.core.take()
    world.core.activate(world.now)
    assert [dpid for dpid, _, _ in world.core.take().programs] == [HV1]
