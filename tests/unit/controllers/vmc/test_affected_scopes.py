"""Which groups of flows are computed again for an entity, whose offloads rest on it, and who is plugged in where."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from controllers.testing.world import cluster, host, hoverboard, network, route, vm
from controllers.vmc.affected_scopes import touched_scopes
from controllers.vmc.view.facts import Agents
from controllers.vmc.view.flow_scopes import BalancerScope, FirewallScope, NetworkScope, RouteScope, Scope, VmScope
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import AnyEntity, FirewallRule, LoadBalancer

B1 = vm("b1", "blue", "h1", 2).model_copy(update={"tags": ("web",)})
B2, G1 = vm("b2", "blue", "h2", 3), vm("g1", "green", "h1", 2)
WIDE, LONG = route("wide", "blue", "192.168.0.0/16", "b1"), route("long", "blue", "192.168.7.0/24", "b2")
RULE = FirewallRule(name="f", network="blue", direction="ingress", action="deny", tags=("web",))
BALANCER = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.100"), backends=("b1",))
OF_WIDE, OF_LONG = RouteScope("blue", IPv4Network("192.168.0.0/16")), RouteScope("blue", IPv4Network("192.168.7.0/24"))
OF_B1, OF_B2, FIREWALL, SHARED = (
    VmScope("b1"),
    VmScope("b2"),
    FirewallScope("blue"),
    BalancerScope("lb"),
)


@pytest.mark.parametrize(
    ("entity", "scopes", "vms"),
    [
        (B1, {OF_B1, OF_WIDE, OF_LONG, FIREWALL, SHARED}, set()),
        (B2, {OF_B2, OF_LONG}, set()),
        (G1, {VmScope("g1")}, set()),
        (RULE, {FIREWALL}, set()),
        (BALANCER, {SHARED}, set()),
        (WIDE, {OF_WIDE, OF_LONG}, set()),  # a longer prefix makes exceptions to it
        (LONG, {OF_LONG}, set()),
        (
            network("blue")[0],
            {NetworkScope("blue"), OF_B1, OF_B2, OF_WIDE, OF_LONG, SHARED, FIREWALL},
            {"b1", "b2"},
        ),
        (network("blue")[1], {NetworkScope("blue"), FIREWALL}, set()),
        (host(1), {OF_B1, VmScope("g1"), OF_WIDE, OF_LONG, FIREWALL, SHARED}, {"b1", "g1"}),
        (host(2), {OF_B2, OF_LONG}, {"b2"}),
        (host(9), set(), set()),
        (hoverboard(1), set(), set()),
    ],
)
def test_an_entity_touches_what_depends_on_it(entity: AnyEntity, scopes: set[Scope], vms: set[str]) -> None:
    view = View()
    for one in (*cluster(), B1, B2, G1, WIDE, LONG, RULE, BALANCER):
        view.add(one)
    found, resting = touched_scopes(view, entity)
    assert (set(found), set(resting)) == (scopes, vms)


def test_a_network_without_anything_in_it_touches_itself() -> None:
    view = View()
    view.add(network("blue")[0])
    assert touched_scopes(view, network("blue")[0]) == ([NetworkScope("blue"), FIREWALL], [])


# --- who is plugged in where --------------------------------------------------------------------------


def plugged() -> Agents:
    agents = Agents()
    assert agents.bind("h1", "b1", "vp1") == ("b1",)
    assert agents.bind("h1", "b2", "vp2") == ("b2",)
    assert agents.bind("h2", "b1", "vp1") == ("b1",)
    return agents


def seen(agents: Agents) -> tuple[dict[str, str], dict[str, str | None]]:
    """The bindings of h1: VM -> vport, vport -> VM."""
    vms, vports = ("b1", "b2", "b3"), ("vp1", "vp2", "vp3")
    return {name: agents.vport("h1", name) for name in vms}, {name: agents.vm("h1", name) for name in vports}


def test_bindings_are_known_both_ways_by_node() -> None:
    agents = plugged()
    assert seen(agents) == ({"b1": "vp1", "b2": "vp2", "b3": ""}, {"vp1": "b1", "vp2": "b2", "vp3": None})
    assert (agents.vport("h2", "b1"), agents.vm("h2", "vp1")) == ("vp1", "b1")
    assert (agents.vport("h3", "b1"), agents.vm("h3", "vp1")) == ("", None)


def test_a_vm_that_is_plugged_in_elsewhere_leaves_its_vport() -> None:
    agents = plugged()
    assert agents.bind("h1", "b1", "vp3") == ("b1",)
    assert seen(agents) == ({"b1": "vp3", "b2": "vp2", "b3": ""}, {"vp1": None, "vp2": "b2", "vp3": "b1"})


def test_a_vport_holds_the_last_vm() -> None:
    agents = plugged()
    assert agents.bind("h1", "b3", "vp2") == ("b3", "b2")
    assert seen(agents) == ({"b1": "vp1", "b2": "", "b3": "vp2"}, {"vp1": "b1", "vp2": "b3", "vp3": None})
    assert agents.vport("h2", "b1") == "vp1"


def test_what_is_unplugged_is_gone_both_ways() -> None:
    agents = plugged()
    agents.unbind("h1", "b2")
    agents.unbind("h1", "b2")
    agents.unbind("h9", "b2")
    assert seen(agents) == ({"b1": "vp1", "b2": "", "b3": ""}, {"vp1": "b1", "vp2": None, "vp3": None})


def test_all_bindings_of_a_node_replace_the_old_ones_and_return_the_differences() -> None:
    agents = plugged()
    assert agents.replace("h1", {"b1": "vp1", "b2": "vp3", "b3": "vp2"}) == {"b2", "b3"}
    assert seen(agents) == ({"b1": "vp1", "b2": "vp3", "b3": "vp2"}, {"vp1": "b1", "vp2": "b3", "vp3": "b2"})
    assert agents.replace("h1", {"b3": "vp2"}) == {"b1", "b2"}
    assert seen(agents) == ({"b1": "", "b2": "", "b3": "vp2"}, {"vp1": None, "vp2": "b3", "vp3": None})
    assert agents.replace("h3", {"b9": "vp9"}) == {"b9"}
    assert agents.vport("h2", "b1") == "vp1"
