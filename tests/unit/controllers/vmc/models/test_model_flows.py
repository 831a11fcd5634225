"""The flows of each switch under each programming model, and that packets follow each change."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from controllers.testing.world import World, cluster, host, hoverboard, place, ready, route, vm
from controllers.vmc.models import MODELS as ALL_MODELS
from controllers.vmc.models import model_named
from controllers.vmc.models.active_learning import ActiveLearningModel
from controllers.vmc.models.gateway import GatewayModel, rendezvous
from controllers.vmc.models.hoverboard import HoverboardModel
from controllers.vmc.models.on_demand import OnDemandModel
from controllers.vmc.models.preprogrammed import PreprogrammedModel
from controllers.vmc.view.liveness import GRACE
from hoverboard.contract.entities import VM, Host, Hoverboard, Network, Subnetwork
from hoverboard.contract.errors import InputError
from hoverboard.contract.models import choices
from hoverboard.contract.openflow import tables
from hoverboard.contract.openflow.pipeline import Kind, Table, kind_of, vni_of
from hoverboard.contract.packets import Address
from tests.unit.controllers.policy_oracle import Talk

MODELS = sorted(ALL_MODELS)
RELAYING = [name for name in MODELS if ALL_MODELS[name].relays]


def dual(one: VM) -> VM:
    return one.model_copy(update={"ip6": IPv6Address(f"fd00:7::{one.ip.packed[3]:x}")})


B1, B2 = dual(vm("b1", "blue", "h1", 2)), dual(vm("b2", "blue", "h2", 3))
OLD, GREEN = vm("b3", "blue", "h2", 4), vm("g1", "green", "h3", 2)
WIDE, LONG = route("wide", "blue", "192.168.0.0/16", "b1"), route("long", "blue", "192.168.7.0/24", "b2")
RANGE = Subnetwork(
    name="blue-sub", network="blue", prefix=IPv4Network("10.0.0.0/24"), prefix6=IPv6Network("fd00:7::/64")
)
HTTP = Talk("tcp", 40000, 80)

# Numbers of flows by kind, in the tables that decide where packets of blue go. The host of b1 has b1's two addresses
# and the wide prefix; it needs a route for the long prefix inside, which is b2's. The host of b2 and b3 has three
# addresses and the long prefix. A Hoverboard has five addresses and two prefixes.
H1, H2 = {"LOCAL": 3, "PING_ANSWER": 1, "PLUMBING": 1}, {"LOCAL": 4, "PING_ANSWER": 1, "PLUMBING": 1}
RELAY = {"RELAY": 7, "PLUMBING": 1}
HELD: dict[str, dict[str, dict[str, int]]] = {
    # Each address and prefix that is elsewhere.
    "preprogrammed": {"h1": H1 | {"ROUTE": 4}, "h2": H2 | {"ROUTE": 3}},
    # A question for each family.
    "on-demand": {"h1": H1 | {"ROUTE": 1, "PUNT": 2}, "h2": H2 | {"PUNT": 2}},
    # A default route for each family.
    "gateway": {"h1": H1 | {"ROUTE": 1, "TO_HOVERBOARD": 2}, "h2": H2 | {"TO_HOVERBOARD": 2}, "hv1": RELAY},
    "hoverboard": {"h1": H1 | {"ROUTE": 1, "TO_HOVERBOARD": 2}, "h2": H2 | {"TO_HOVERBOARD": 2}, "hv1": RELAY},
    "active-learning": {"h1": H1 | {"ROUTE": 1, "LEARN": 2}, "h2": H2 | {"LEARN": 2}, "hv1": RELAY},
}


def held(world: World) -> dict[str, dict[str, int]]:
    """Flows of blue by switch and kind, in the tables TUNNEL, ROUTE and RELAY."""
    of_interest = (Table.TUNNEL, Table.ROUTE, Table.RELAY)
    return {
        name: dict(Counter(
            kind.name for flow in table.values()
            if flow.table in of_interest and vni_of(flow.cookie) == 7 and (kind := kind_of(flow.cookie)) is not None
        ))
        for name, table in world.tables().items()
    }  # fmt: skip


def furnished(model: str) -> World:
    """Two hosts with VMs of blue, one without, two Hoverboards."""
    world = ready(model, hosts=3, hoverboards=2)
    world.diff([RANGE])
    place(world, B1, B2, OLD, GREEN)
    world.diff([WIDE, LONG])
    return world


def reached(world: World, src: VM, dst: VM) -> tuple[str, ...]:
    """The switches that a packet to a VM passes, the same in each family; it has to arrive."""
    found = set()
    for address in (dst.ip, dst.ip6):
        if address is not None:
            journey = world.speak(src, address, HTTP)
            assert journey.delivered == ((dst.host, world.core.view.ports[dst.name]),)
            found.add(journey.hops)
    (hops,) = found
    return hops


@pytest.mark.parametrize("model", MODELS)
def test_each_switch_holds_what_the_model_says(model: str) -> None:
    wanted = {"h3": {}, "hv1": {}} | HELD[model]
    assert held(furnished(model)) == wanted | {"hv2": wanted["hv1"]}


@pytest.mark.parametrize("model", MODELS)
def test_without_ipv6_there_is_half_of_it(model: str) -> None:
    world = ready(model, hosts=2)
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3))
    onward = {"preprogrammed": "ROUTE", "on-demand": "PUNT", "active-learning": "LEARN"}.get(model, "TO_HOVERBOARD")
    mine = {"LOCAL": 1, "PING_ANSWER": 1, "PLUMBING": 1, onward: 1}
    relay = {"RELAY": 2, "PLUMBING": 1} if model in RELAYING else {}
    assert held(world) == {"h1": mine, "h2": mine, "hv1": relay}


@pytest.mark.parametrize("model", MODELS)
def test_packets_go_over_a_hoverboard_where_the_model_relays(model: str) -> None:
    world = furnished(model)
    over = rendezvous("h1", ["hv1", "hv2"])
    assert reached(world, B1, B2) == (("h1", over, "h2") if model in RELAYING else ("h1", "h2"))
    assert reached(world, B2, OLD) == ("h2",)
    assert world.send(B1, "192.168.7.7").hops == ("h1", "h2")  # the exception in a prefix that is here
    assert world.send(OLD, "192.168.8.8").delivered == (("h1", world.core.view.ports["b1"]),)
    assert world.send(GREEN, "192.168.7.7").delivered == ()


def test_what_the_models_say_of_themselves() -> None:
    facts = ("offloads", "answers", "learns", "relays")
    given = {type(model): {fact for fact in facts if getattr(model, fact)} for model in ALL_MODELS.values()}
    wanted = {
        PreprogrammedModel: set(), OnDemandModel: {"answers"}, GatewayModel: {"relays"},
        HoverboardModel: {"relays", "offloads"}, ActiveLearningModel: {"relays", "learns"},
    }  # fmt: skip
    assert given | wanted == given


@pytest.mark.parametrize("model", MODELS)
def test_a_model_makes_flows_only_for_what_it_is_for(model: str) -> None:
    world, made = furnished(model), ALL_MODELS[model]
    pair = made.offload_flows(world.core.view, B1, B2)
    answer = made.lookup_flows(world.core.view, "h1", world.core.view.networks["blue"], B2.ip)
    assert (len(list(pair)), len(list(answer))) == (2 if made.offloads else 0, 1 if made.answers else 0)


def test_a_model_is_found_by_its_name_only() -> None:
    assert [model_named(name) for name in MODELS] == [ALL_MODELS[name] for name in MODELS]
    with pytest.raises(InputError, match="unknown programming model 'mesh'") as refused:
        model_named("mesh")
    step = f"use one of {choices()}, or FILE.py:Class"
    assert (refused.value.where, refused.value.next_step) == ("--model", step)
    with pytest.raises(InputError) as refused:
        model_named("mesh", where="SetModel")
    assert refused.value.where == "SetModel"


@pytest.mark.parametrize("model", MODELS)
def test_a_network_may_get_a_new_number_and_a_second_subnetwork(model: str) -> None:
    world = furnished(model)
    more = Subnetwork(name="more", network="blue", prefix=IPv4Network("10.0.1.0/24"))
    world.diff([Network(name="blue", vni=70), more])
    assert reached(world, B1, B2)[-1] == "h2"
    assert world.send(OLD, "192.168.8.8").delivered == (("h1", world.core.view.ports["b1"]),)
    for gateway in ("10.0.0.1", "10.0.1.1"):
        (address,) = IPv4Network(f"{gateway}/32").hosts()
        assert world.speak(B1, address, Talk("icmp", 8)).delivered == (("h1", world.core.view.ports["b1"]),)
    world.diff([Network(name="blue", vni=7)], [("Subnetwork", "more")])
    assert reached(world, B1, B2)[-1] == "h2"
    assert not any(vni_of(flow.cookie) == 70 for table in world.tables().values() for flow in table.values())


@pytest.mark.parametrize("model", MODELS)
def test_a_long_prefix_inside_a_wide_one_of_the_same_host_stays_there(model: str) -> None:
    world = furnished(model)
    place(world, near := vm("b4", "blue", "h1", 5))
    world.diff([route("long", "blue", "192.168.7.0/24", "b4")])
    assert world.send(B1, "192.168.7.7").delivered == (("h1", world.core.view.ports["b4"]),)
    assert world.send(B2, "192.168.7.7").delivered == (("h1", world.core.view.ports["b4"]),)
    assert world.send(near, "192.168.8.8").delivered == (("h1", world.core.view.ports["b1"]),)


@pytest.mark.parametrize("model", sorted({*MODELS} - {"preprogrammed"}))
def test_the_host_of_a_next_hop_that_lost_gets_no_route(model: str) -> None:
    world = ready(model)
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3))
    world.diff([route("lost", "blue", "192.168.0.0/16", "b1", 2), route("won", "blue", "192.168.0.0/16", "b2", 1)])
    assert "ROUTE" not in held(world)["h1"]
    assert held(world)["h2"]["LOCAL"] == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_host_that_gets_its_first_vm_of_a_network_learns_all_of_it(model: str) -> None:
    world = furnished(model)
    place(world, late := dual(vm("b9", "blue", "h3", 9)))
    assert reached(world, late, B2)[-1] == reached(world, B1, B2)[-1] == "h2"
    assert reached(world, B1, late)[-1] == "h3"
    assert world.send(late, "192.168.7.7").delivered == (("h2", world.core.view.ports["b2"]),)
    assert world.send(late, "192.168.8.8").delivered == (("h1", world.core.view.ports["b1"]),)
    world.diff(remove=[("VM", "b9")])
    assert held(world)["h3"] == {}


@pytest.mark.parametrize("model", MODELS)
def test_a_host_may_get_another_underlay_address(model: str) -> None:
    world = furnished(model)
    reached(world, B1, B2)
    moved = Host(name="h2", underlay_ip=host(9).underlay_ip)
    world.diff([moved])
    world.net.underlay = {
        int(moved.underlay_ip) if name == "h2" else at: name for at, name in world.net.underlay.items()
    }
    world.connect(moved, {"vp-b2": world.core.view.ports.get("b2", 101), "vp-b3": 102})
    assert reached(world, B1, B2)[-1] == "h2"
    assert world.send(B1, "192.168.7.7").delivered == (("h2", world.core.view.ports["b2"]),)


@pytest.mark.parametrize("model", RELAYING)
def test_a_hoverboard_that_comes_knows_everything(model: str) -> None:
    world = ready(model, hosts=3)
    world.diff([RANGE])
    place(world, B1, B2, OLD)
    world.diff([WIDE, LONG])
    world.connect(hoverboard(2))
    world.hello("hv2")
    world.diff([hoverboard(2)])
    assert held(world)["hv2"] == held(world)["hv1"] == RELAY
    world.diff(remove=[("Hoverboard", "hv1")])
    assert reached(world, B1, B2) == ("h1", "hv2", "h2")
    assert world.send(OLD, "192.168.8.8").hops == ("h2", "hv2", "h1")


@pytest.mark.parametrize("model", MODELS)
def test_a_dead_hoverboard_changes_default_routes_and_nothing_else(model: str) -> None:
    world = furnished(model)
    used = rendezvous("h1", ["hv1", "hv2"])
    before = world.tables()
    world.core.agent_gone(used, world.now)
    world.pass_time(GRACE + 1)
    assert world.core.view.down == {used}
    changed = {flow.priority for name, table in world.tables().items() for key, flow in table.items()
               if before[name].get(key) != flow}  # fmt: skip
    assert changed == ({tables.DEFAULT} if model in RELAYING else set())
    assert used not in reached(world, B1, B2)


@pytest.mark.parametrize("model", RELAYING)
def test_default_routes_follow_a_hoverboards_address(model: str) -> None:
    world = ready(model)
    world.diff([RANGE])
    place(world, B1, B2)
    moved = Hoverboard(name="hv1", underlay_ip=hoverboard(9).underlay_ip)
    world.connect(moved)
    world.diff([moved])
    world.net.underlay[int(hoverboard(1).underlay_ip)] = "nowhere"
    assert reached(world, B1, B2) == ("h1", "hv1", "h2")


@pytest.mark.parametrize("model", RELAYING)
def test_without_a_hoverboard_only_the_own_host_is_reached(model: str) -> None:
    world = World(model)
    world.full_update(cluster(2, 0))
    world.diff([RANGE])
    for number in (1, 2):
        world.connect(host(number))
        world.hello(f"h{number}")
    place(world, B1, B2, OLD)
    assert reached(world, B2, OLD) == ("h2",)
    for address in (B2.ip, B2.ip6):
        assert address is not None
        assert world.speak(B1, address, HTTP).dropped == ("no-route",)


def test_hosts_are_spread_over_hoverboards_and_stay_with_theirs() -> None:
    hosts, boards = [f"h{number}" for number in range(100)], ["hv1", "hv2", "hv3", "hv4"]
    before = {name: rendezvous(name, boards) for name in hosts}
    shares = Counter(before.values())
    assert sorted(shares) == boards
    assert max(shares.values()) < 50
    # One that goes hands over its own hosts only, and in whatever order they are listed.
    after = {name: rendezvous(name, ["hv4", "hv2", "hv1"]) for name in hosts}
    assert all(after[name] == board for name, board in before.items() if board != "hv3")
    assert [before[name] for name in ("h1", "h2", "h3")] == ["hv1", "hv1", "hv2"]


# --- on demand ---------------------------------------------------------------------------------------


def asked(world: World) -> list[Kind | None]:
    """The answers that stand at h1."""
    found = [kind_of(flow.cookie) for flow in world.tables()["h1"].values()]
    return sorted(kind for kind in found if kind in (Kind.ROUTE, Kind.DROP_UNKNOWN_DESTINATION))


def is_nowhere(world: World, address: Address) -> bool:
    """Whether the answer for b1 is that nothing is there, and the next packet meets that answer."""
    src = world.core.view.vms["b1"]
    first, second = (world.speak(src, address, HTTP) for _ in range(2))
    return not first.delivered and second.dropped == ("unknown-destination",)


def test_an_answer_is_a_route_to_the_vms_host_or_that_nothing_is_there() -> None:
    world = ready("on-demand", hosts=3)
    world.diff([RANGE])
    place(world, B1, B2)
    assert reached(world, B1, B2) == ("h1", "h2")
    assert asked(world) == [Kind.ROUTE] * 2
    for nothing in (IPv6Address("fd00:7::99"), B2.ip + 90):
        assert is_nowhere(world, nothing)
    assert asked(world) == [Kind.ROUTE] * 2 + [Kind.DROP_UNKNOWN_DESTINATION] * 2


def test_a_vm_beside_the_asking_one_is_nowhere_until_it_is_plugged_in() -> None:
    world = ready("on-demand")
    world.diff([RANGE])
    beside = dual(vm("b4", "blue", "h1", 5))
    place(world, B1)
    world.diff([beside])
    assert is_nowhere(world, beside.ip)
    assert asked(world) == [Kind.DROP_UNKNOWN_DESTINATION]
    place(world, beside)
    assert asked(world) == []
    assert reached(world, B1, beside) == ("h1",)


def test_an_answer_for_a_routed_address_is_that_of_the_longest_prefix() -> None:
    world = ready("on-demand", hosts=3)
    b3 = vm("b3", "blue", "h3", 4)
    place(world, vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), b3)
    world.diff([route("wide", "blue", "192.168.0.0/16", "b2"), route("long", "blue", "192.168.7.0/24", "b3")])
    b1 = world.core.view.vms["b1"]
    assert world.send(b1, "192.168.7.7").hops == ("h1", "h3")
    assert world.send(b1, "192.168.8.8").hops == ("h1", "h2")
    world.diff(remove=[("Route", "long")])
    assert world.send(b1, "192.168.7.7").hops == ("h1", "h2")
    world.diff([route("long", "blue", "192.168.7.0/24", "b3")])
    assert world.send(b1, "192.168.7.7").hops == ("h1", "h3")
    # Routes of another network are not known here.
    world.diff([vm("g1", "green", "h2", 2)])
    world.diff([route("g", "green", "172.20.0.0/16", "g1")])
    assert is_nowhere(world, IPv4Address("172.20.0.1"))
