"""Programming models by plain examples: the path of a packet, what a change touches, what a host holds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from controllers.testing.world import hoverboard, place, ready, route, vm
from controllers.vmc.flow_groups.route import winner
from controllers.vmc.models import MODELS as ALL_MODELS
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import Network
from hoverboard.contract.openflow.pipeline import vport_flows

MODELS = sorted(ALL_MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_the_longest_prefix_then_the_lowest_priority_number(model: str) -> None:
    world = ready(model, hosts=3)
    b1, b2, b3 = (vm(f"b{n}", "blue", f"h{n}", n + 1) for n in (1, 2, 3))
    place(world, b1, b2, b3)
    world.diff([
        route("wide", "blue", "192.168.0.0/16", "b1", 1),
        route("first", "blue", "192.168.7.0/24", "b2", 5), route("second", "blue", "192.168.7.0/24", "b3", 6),
    ])  # fmt: skip
    port = world.core.view.ports
    assert world.send(b3, "192.168.1.1").delivered == (("h1", port["b1"]),)
    # The sender's host delivers the wider prefix itself, and must not do so with the longer one.
    assert world.send(b1, "192.168.7.7").delivered == (("h2", port["b2"]),)
    assert world.send(b2, int(b1.ip), "192.168.7.7").delivered == (("h1", port["b1"]),)
    assert world.send(b3, int(b1.ip), "192.168.7.7").delivered == (("h1", port["b1"]),)
    assert world.send(b3, int(b1.ip), "192.168.8.1").dropped == ("spoofed",)
    world.diff(remove=[("Route", "first")])
    assert world.send(b1, "192.168.7.7").delivered == (("h3", port["b3"]),)
    world.unbind("h3", "b3")
    assert world.send(b1, "192.168.7.7").dropped == ("no-such-vm",)
    world.diff(remove=[("Route", "second")])
    assert world.send(b2, "192.168.7.7").delivered == (("h1", port["b1"]),)
    world.diff(remove=[("Route", "wide")])
    assert world.send(b2, "192.168.7.7").delivered == ()


def test_a_prefix_that_is_not_routed_has_no_winner() -> None:
    with pytest.raises(LookupError, match=r"192\.168\.0\.0/16 is not routed in network blue"):
        winner(View(), Network(name="blue", vni=7), IPv4Network("192.168.0.0/16"))


def test_a_route_costs_the_hosts_of_its_next_hops_and_the_hoverboards_only() -> None:
    world = ready("hoverboard", hosts=3, hoverboards=2)
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4))
    before = world.tables()
    world.changed.clear()
    world.diff([route("r", "blue", "192.168.7.0/24", "b1")])
    assert world.changed == {"h1", "hv1", "hv2"}
    world.diff(remove=[("Route", "r")])
    assert world.tables() == before


def test_usage_of_a_next_hop_that_answers_is_neither_offloaded_nor_strange() -> None:
    world = ready("hoverboard")
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3))
    world.diff([route("r", "blue", "192.168.7.0/24", "b1")])
    world.usage("h1", 7, "192.168.7.7", "10.0.0.3", 1_000_000)
    world.usage("h2", 7, "10.0.0.3", "192.168.7.7", 1_000_000)
    assert not world.policy.active
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 0
    world.usage("h2", 7, "192.168.7.7", "10.0.0.2", 1_000_000)
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 1


@pytest.mark.parametrize("model", MODELS)
def test_apply_then_revert_gives_back_the_first_state(model: str) -> None:
    world = ready(model, hosts=3, hoverboards=2)
    b1, b2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
    place(world, b1, b2)
    first = world.tables()
    expected = world.expected()
    world.diff([vm("b3", "blue", "h3", 4), vm("g1", "green", "h1", 2)])
    assert world.tables() != first
    world.diff(remove=[("VM", "b3"), ("VM", "g1")])
    assert world.tables() == first
    moved = vm("b2", "blue", "h3", 3)
    world.diff([moved])
    world.diff([b2])
    assert world.tables() == first
    assert world.expected() == expected


@pytest.mark.parametrize("model", MODELS)
def test_nothing_changes_when_nothing_is_new(model: str) -> None:
    world = ready(model)
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3))
    world.sent.clear()
    world.full_update(list(world.fabric.entities.values()))
    world.hello("h1", {"b1": "vp-b1"})
    world.bind("h2", "b2", "vp-b2")
    assert world.sent == []


def test_hoverboard_path_is_host_gateway_host() -> None:
    world = ready("hoverboard")
    b1, b2, b3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h1", 4)
    place(world, b1, b2, b3)
    assert world.travel(b1, b2).hops == ("h1", "hv1", "h2")
    assert world.travel(b1, b3).hops == ("h1",)


def test_preprogrammed_path_is_host_host() -> None:
    world = ready("preprogrammed")
    b1, b2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
    place(world, b1, b2)
    assert world.travel(b1, b2).hops == ("h1", "h2")


def test_an_unjoined_vm_is_dropped_by_its_host_by_name() -> None:
    world = ready("hoverboard")
    b1 = vm("b1", "blue", "h1", 2)
    place(world, b1, vm("b2", "blue", "h2", 3))
    ghost = vm("b9", "blue", "h2", 9)
    world.diff([ghost])
    assert world.travel(b1, ghost).dropped == ("no-such-vm",)


def test_a_host_does_not_grow_with_the_network_in_the_hoverboard_model() -> None:
    sizes = {}
    for count in (10, 200):
        world = ready("hoverboard")
        place(world, vm("b1", "blue", "h1", 2))
        world.diff([vm(f"x{n}", "blue", "h2", n) for n in range(3, 3 + count)])
        sizes[count] = {name: len(table) for name, table in world.tables().items()}
    assert sizes[10]["h1"] == sizes[200]["h1"]
    assert sizes[200]["hv1"] - sizes[10]["hv1"] == 190


def test_one_vm_more_touches_its_host_and_the_hoverboards_only() -> None:
    world = ready("hoverboard", hosts=3, hoverboards=2)
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4))
    world.sent.clear()
    world.changed.clear()
    world.diff([vm("b4", "blue", "h1", 5)])
    assert {name for name, _ in world.sent} == world.changed == {"hv1", "hv2"}
    world.sent.clear()
    place(world, vm("b4", "blue", "h1", 5))
    of_a_vm = len(vport_flows(7, 100, IPv4Address("10.0.0.5"), "06:07:0a:00:00:05"))
    assert [(name, len(program)) for name, program in world.sent] == [("h1", of_a_vm)]


def test_the_default_route_follows_the_hoverboards() -> None:
    world = ready("hoverboard", hosts=3, hoverboards=1)
    b1, b2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
    place(world, b1, b2)
    world.connect(hoverboard(2))
    world.hello("hv2")
    world.diff([hoverboard(2)])
    assert world.reaches(b1, b2)
    world.diff(remove=[("Hoverboard", "hv1")])
    assert world.travel(b1, b2).hops == ("h1", "hv2", "h2")
    world.diff(remove=[("Hoverboard", "hv2")])
    assert world.travel(b1, b2).dropped == ("no-route",)
