"""Usage reports in the controller: which pairs are offloaded, and when offloads are withdrawn."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controllers.testing.world import VNIS, World, host, hoverboard, network, place, ready, route, vm
from controllers.vmc.offload.policy import OffloadSettings, Pair
from hoverboard.contract.entities import VM
from hoverboard.contract.openflow.flow import Flow, Match
from hoverboard.contract.openflow.pipeline import Kind, cookie, kind_of
from hoverboard.contract.reports import FlowUsage, UsageReport

B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h1", 4)


def offloaded(world: World) -> set[tuple[str, int]]:
    """(switch, destination underlay) of all offload flows in switches."""
    found = set()
    for name, table in world.tables().items():
        for flow in table.values():
            if kind_of(flow.cookie) is Kind.OFFLOAD:
                found.add((name, next(a.value for a in flow.actions if getattr(a, "field", "") == "tun_ipv4_dst")))
    return found


@pytest.fixture
def world() -> World:
    made = ready("hoverboard", hosts=3)
    place(made, B1, B2, B3)
    return made


def busy(world: World, reporter: str = "h1", sent: int = 1_000_000) -> None:
    world.usage(reporter, 7, "10.0.0.2", "10.0.0.3", sent)


def test_a_busy_pair_goes_host_to_host_one_way(world: World) -> None:
    busy(world)
    assert world.travel(B1, B2).hops == ("h1", "h2")
    assert world.travel(B2, B1).hops == ("h2", "hv1", "h1")
    assert world.travel(B3, B2).hops == ("h1", "hv1", "h2")


def test_taken_back_when_idle(world: World) -> None:
    busy(world)
    world.pass_time(31)
    assert world.travel(B1, B2).hops == ("h1", "hv1", "h2")
    assert world.core.counters["offloads_ended"] == 1


def test_only_the_sending_host_counts(world: World) -> None:
    busy(world, "hv1")
    busy(world, "h2")
    busy(world, "stranger")
    assert offloaded(world) == set()
    counters = world.core.counters
    assert counters["usage_reports_from_hoverboards"] == 1
    assert counters["usage_flows_not_sent_by_reporter"] == 1
    assert counters["usage_reports_from_strangers"] == 1


def test_pairs_on_one_host_and_unknown_addresses_are_left_alone(world: World) -> None:
    world.usage("h1", 7, "10.0.0.2", "10.0.0.4", 1_000_000)
    world.usage("h1", 7, "10.0.0.2", "10.0.0.77", 1_000_000)
    world.usage("h1", 9, "10.0.0.2", "10.0.0.3", 1_000_000)
    assert offloaded(world) == set()


def test_a_moved_receiver_is_followed_and_a_moved_sender_starts_again(world: World) -> None:
    busy(world)
    ((_, first),) = offloaded(world)
    world.diff([vm("b2", "blue", "h3", 3)])
    ((_, second),) = offloaded(world)
    assert (first & 0xFF, second & 0xFF) == (2, 3)
    world.diff([vm("b2", "blue", "h1", 3)])
    assert offloaded(world) == set()
    world.diff([B2])
    busy(world)
    world.diff([vm("b1", "blue", "h3", 2)])
    assert offloaded(world) == set()
    assert not world.policy.active


def test_a_removed_vm_takes_its_offloads_along(world: World) -> None:
    busy(world)
    world.diff(remove=[("VM", "b2")])
    assert offloaded(world) == set()
    assert not world.core.offloading._pairs_of


def test_preprogrammed_needs_no_offloads() -> None:
    made = ready("preprogrammed")
    place(made, B1, B2)
    busy(made)
    assert not made.policy.active


def test_hoverboards_may_come_and_go_under_an_offload(world: World) -> None:
    busy(world)
    world.diff(remove=[("Hoverboard", hoverboard(1).name)])
    assert world.travel(B1, B2).hops == ("h1", "h2")


def test_reports_of_hoverboards_count_where_the_policy_wants_them() -> None:
    made = ready("hoverboard", hosts=3)
    made.policy.settings = OffloadSettings(reports="hoverboards")
    place(made, B1, B2, B3)
    busy(made, "h1")
    assert not made.policy.active
    busy(made, "hv1")
    assert made.travel(B1, B2).hops == ("h1", "h2")


def test_a_report_is_counted_by_who_sends_it(world: World) -> None:
    for seconds in (0.0, -1.0):
        world.usage("h1", 7, "10.0.0.2", "10.0.0.3", 1_000_000, seconds)
    counters = world.core.counters
    assert (counters["usage_reports"], counters["usage_reports_from_strangers"]) == (0, 2)
    busy(world)
    busy(world, "h2", 0)
    assert (counters["usage_reports"], counters["usage_reports_from_strangers"]) == (2, 2)
    assert counters["offloads_started"] == 1
    assert not world.core.offloading.accepts(UsageReport("hv1", 1.0, ()))
    assert world.core.offloading.accepts(UsageReport("stranger", 1.0, ())) is False


def test_a_report_of_a_hoverboard_of_no_length_is_of_no_use() -> None:
    made = ready("hoverboard")
    made.policy.settings = OffloadSettings(reports="hoverboards")
    for seconds, accepted in ((1.0, True), (0.0, False)):
        assert made.core.offloading.accepts(UsageReport("hv1", seconds, ())) is accepted
    assert made.core.counters["usage_reports_from_hoverboards"] == 2


def test_flows_without_a_sender_are_counted_where_a_host_reports_them(world: World) -> None:
    world.diff([route("r", "blue", "192.168.7.0/24", "b1")])
    world.usage("h1", 7, "192.168.7.7", "10.0.0.3", 1_000_000)  # as the next hop of a route
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 0
    world.usage("h2", 7, "192.168.7.7", "10.0.0.2", 1_000_000)
    world.usage("h1", 7, "10.0.0.99", "10.0.0.3", 1_000_000)
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 2
    assert offloaded(world) == set()
    world.policy.settings = OffloadSettings(reports="hoverboards")
    world.usage("hv1", 7, "10.0.0.99", "10.0.0.3", 1_000_000)  # what a Hoverboard relays may come from anywhere
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 2


def test_flows_of_one_pair_in_a_report_count_together(world: World) -> None:
    b1, b2 = B1.ip, B2.ip
    half = FlowUsage(7, b1, b2, 1_250, 1)
    world.core.usage(UsageReport("h1", 1.0, (half, half)), world.now)  # 20 kb/s exactly
    assert not world.policy.active
    world.core.usage(UsageReport("h1", 1.0, (half, FlowUsage(7, b1, b2, 1_251, 1))), world.now)
    assert set(world.policy.active) == {Pair("b1", "b2")}


def test_a_displaced_offload_is_taken_back_from_its_switch(world: World) -> None:
    place(world, vm("b4", "blue", "h2", 9))
    world.policy.settings = OffloadSettings(budget=1, minimum_lifetime=0.0)
    busy(world)
    world.now += 10.0
    world.usage("h1", 7, "10.0.0.2", "10.0.0.9", 2_000_000)
    assert set(world.policy.active) == {Pair("b1", "b4")}
    assert len(offloaded(world)) == 1
    assert world.travel(B1, B2).hops == ("h1", "hv1", "h2")
    assert (world.core.counters["offloads_started"], world.core.counters["offloads_ended"]) == (2, 1)
    world.diff(remove=[("VM", "b2")])
    assert world.core.counters["offloads_ended"] == 1


def test_an_offload_follows_the_underlay_address_of_the_receivers_host(world: World) -> None:
    busy(world)
    moved = host(2).model_copy(update={"underlay_ip": host(9).underlay_ip})
    world.diff([moved])
    ((_, underlay),) = offloaded(world)
    assert underlay == int(moved.underlay_ip)


def test_an_offload_follows_the_vni_of_its_network(world: World) -> None:
    busy(world)
    before = offloaded(world)
    world.diff([network("blue")[0].model_copy(update={"vni": 77})])
    assert offloaded(world) == before
    cookies = [flow.cookie for flow in world.tables()["h1"].values() if kind_of(flow.cookie) is Kind.OFFLOAD]
    assert cookies == [cookie(Kind.OFFLOAD, 77)]
    assert world.tables()["h1"] == world.expected()["h1"]


@pytest.mark.parametrize(
    "gone",
    [
        B2.model_copy(update={"network": "green"}),  # the receiver's name goes to another network
        B1.model_copy(update={"network": "green"}),
        B1.model_copy(update={"host": "h2"}),  # both on one host now
    ],
)
def test_an_offload_that_is_not_legal_any_more_ends(world: World, gone: VM) -> None:
    busy(world)
    world.diff([gone])
    assert offloaded(world) == set()
    assert not world.policy.active
    assert world.core.counters["offloads_ended"] == 1


@pytest.mark.parametrize("name", ["b1", "b2"])
def test_a_vm_that_goes_ends_its_offloads_as_sender_and_as_receiver(world: World, name: str) -> None:
    busy(world)
    world.usage("h2", 7, "10.0.0.3", "10.0.0.4", 1_000_000)  # b2 -> b3
    world.diff(remove=[("VM", name)])
    assert set(world.policy.active) == ({Pair("b2", "b3")} if name == "b1" else set())
    assert world.core.counters["offloads_ended"] == (1 if name == "b1" else 2)


def test_a_sender_that_moves_starts_again_and_offloads_to_it_point_at_its_new_host(world: World) -> None:
    busy(world)
    world.usage("h2", 7, "10.0.0.3", "10.0.0.2", 1_000_000)
    world.diff([vm("b1", "blue", "h3", 2)])
    assert set(world.policy.active) == {Pair("b2", "b1")}
    assert offloaded(world) == {("h2", int(host(3).underlay_ip))}


# --- what a former controller left on a switch ----------------------------------------------------------


def found(kind: Kind, src: str, dst: str, vni: int = VNIS["blue"]) -> Flow:
    version = 6 if ":" in src else 4
    match = tuple(
        Match(f"ipv{version}_{end}", int(ip_address(address)))
        for end, address in (("src", src), ("dst", dst))
        if address
    )
    return Flow(30, 200, match, (), cookie(kind, vni))


@pytest.mark.parametrize(
    ("flow", "reader"),
    [
        (found(Kind.ROUTE, "10.0.0.2", "10.0.0.3"), "h1"),  # no offload
        (found(Kind.OFFLOAD, "10.0.0.2", "10.0.0.3"), "h2"),  # the sender has moved away while no controller ran
        (found(Kind.OFFLOAD, "10.0.0.2", "10.0.0.4"), "h1"),  # the receiver has moved to the sender's host
        (found(Kind.OFFLOAD, "10.0.0.99", "10.0.0.3"), "h1"),  # the sender is gone
        (found(Kind.OFFLOAD, "10.0.0.2", "10.0.0.99"), "h1"),  # the receiver is gone
        (found(Kind.OFFLOAD, "10.0.0.2", "10.0.0.3", 999), "h1"),  # the network is gone
        (found(Kind.OFFLOAD, "10.0.0.2", ""), "h1"),
        (found(Kind.OFFLOAD, "", "10.0.0.3"), "h1"),
    ],
)
def test_what_is_no_legal_offload_is_not_adopted(world: World, flow: Flow, reader: str) -> None:
    world.core.offloading.adopt(reader, [flow], world.now)
    assert not world.policy.active
    assert world.core.counters["offloads_adopted"] == 0


def test_legal_offloads_are_adopted_once_whatever_stands_beside_them(world: World) -> None:
    flows = [
        found(Kind.ROUTE, "10.0.0.4", "10.0.0.3"),
        found(Kind.OFFLOAD, "10.0.0.99", "10.0.0.3"),
        *[found(Kind.OFFLOAD, "10.0.0.2", "10.0.0.3")] * 2,
        found(Kind.OFFLOAD, "10.0.0.4", "10.0.0.3"),
    ]
    world.core.offloading.adopt("h1", flows, world.now + 7.0)
    assert set(world.policy.active) == {Pair("b1", "b2"), Pair("b3", "b2")}
    assert {(one.host, one.since) for one in world.policy.active.values()} == {("h1", world.now + 7.0)}
    assert world.core.counters["offloads_adopted"] == 2
    world.work()
    assert offloaded(world) == {("h1", int(host(2).underlay_ip))}
    assert world.travel(B1, B2).hops == world.travel(B3, B2).hops == ("h1", "h2")
