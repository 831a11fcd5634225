"""The store's indices, and a large change in steps: what is removed leaves nothing, others have a turn now and then."""

from __future__ import annotations

from collections.abc import Generator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from controllers.fm.index import FabricIndex, entity_where, key_of
from controllers.fm.intent_store import Changes, IntentStore
from controllers.fm.rejections import in_use
from controllers.testing.world import cluster, host, hoverboard, network, route, vm
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, LoadBalancer, Network, Subnetwork
from hoverboard.contract.errors import EntityError


def rule(name: str, net: str) -> FirewallRule:
    return FirewallRule(name=name, network=net, direction="ingress", action="deny")


def balancer(name: str, net: str, last: int, *backends: str) -> LoadBalancer:
    return LoadBalancer(name=name, network=net, ip=IPv4Address(f"10.0.0.{last}"), backends=backends)


def having(one: VM, external: str, ip6: str) -> VM:
    return one.model_copy(update={"external_ips": (IPv4Address(external),), "ip6": IPv6Address(ip6)})


B1 = having(vm("b1", "blue", "h1", 2), "192.0.2.1", "fd00:7::2")
B2, B3 = having(vm("b2", "blue", "h2", 3), "192.0.2.2", "fd00:7::3"), vm("b3", "blue", "h1", 4)
G1 = vm("g1", "green", "h1", 2)
SIX = Subnetwork(name="six", network="blue", prefix=IPv4Network("10.1.0.0/24"), prefix6=IPv6Network("fd00:7::/64"))
ALL: list[AnyEntity] = [
    *cluster(2, 2), SIX, B1, B2, B3, G1,
    route("r", "blue", "192.168.7.0/24", "b1"), route("s", "blue", "192.168.7.0/24", "b1", 5),
    route("t", "green", "192.168.7.0/24", "g1"), rule("f1", "blue"), rule("f2", "blue"), rule("g", "green"),
    balancer("lb", "blue", 100, "b1", "b2"), balancer("lb2", "blue", 101, "b2"), balancer("glb", "green", 100, "g1"),
]  # fmt: skip


def of(*entities: AnyEntity) -> FabricIndex:
    index = FabricIndex()
    for entity in entities:
        index.add(entity)
    return index


@pytest.mark.parametrize("gone", ALL, ids=lambda one: f"{one.TYPE} {one.name}")
def test_what_is_removed_is_as_if_it_had_never_been(gone: AnyEntity) -> None:
    index = of(*ALL)
    index.remove(gone)
    assert vars(index) == vars(of(*(one for one in ALL if one != gone)))


@pytest.mark.parametrize(
    ("entity", "where", "what", "next_step"),
    [
        (Network(name="red", vni=7), "Network/red.vni", "7 is taken by Network 'blue'",
         "give it a vni that is not taken"),
        (host(1).model_copy(update={"name": "h9"}), "Host/h9.underlay_ip", "172.16.0.1 is taken by Host 'h1'",
         "give it an underlay_ip that is not taken"),
        (hoverboard(7).model_copy(update={"name": "h1"}), "Hoverboard/h1.name", "'h1' is taken by Host 'h1'",
         "give it a name that is not taken"),
        (vm("x", "blue", "h1", 2), "VM/x.ip", "10.0.0.2 in network 'blue' is taken by VM 'b1'",
         "give it an ip that is not taken"),
        (vm("x", "blue", "h1", 9).model_copy(update={"mac": B1.mac}), "VM/x.mac",
         "06:07:0a:00:00:02 in network 'blue' is taken by VM 'b1'", "give it a mac that is not taken"),
        (having(vm("x", "blue", "h1", 9), "192.0.2.2", "fd00:7::9"), "VM/x.external_ips",
         "192.0.2.2 is taken by VM 'b2'", "give it an external_ips that is not taken"),
        (having(vm("x", "blue", "h1", 9), "192.0.2.9", "fd00:7::3"), "VM/x.ip6",
         "fd00:7::3 in network 'blue' is taken by VM 'b2'", "give it an ip6 that is not taken"),
        (vm("x", "blue", "h1", 100), "VM/x.ip", "10.0.0.100 in network 'blue' is taken by LoadBalancer 'lb'",
         "give it an ip that is not taken"),
        (balancer("x", "blue", 2, "b1"), "LoadBalancer/x.ip", "10.0.0.2 in network 'blue' is taken by VM 'b1'",
         "give it an ip that is not taken"),
        (route("x", "blue", "192.168.7.0/24", "b2", 5), "Route/x.priority",
         "5 for 192.168.7.0/24 in network 'blue' is taken by Route 's'", "give it a priority that is not taken"),
    ],
)  # fmt: skip
def test_what_is_taken_is_refused_and_changes_nothing(entity: AnyEntity, where: str, what: str, next_step: str) -> None:
    index = of(*ALL)
    with pytest.raises(EntityError) as refused:
        index.add(entity)
    assert (refused.value.where, refused.value.what, refused.value.next_step) == (where, what, next_step)
    assert vars(index) == vars(of(*ALL))


def test_what_names_an_entity() -> None:
    assert (key_of(B1), entity_where(B1, "ip")) == (("VM", "b1"), "VM/b1.ip")


# --- a large change in steps ----------------------------------------------------------------------------


def started(*more: AnyEntity) -> IntentStore:
    fabric = IntentStore()
    wide = network("blue", "10.0.0.0/16")
    fabric.full_update([*wide, *network("green"), host(1), host(2), *more])
    return fabric


def many(count: int, on: str = "h1") -> list[VM]:
    return [vm(f"b{n}", "blue", on, n % 250 + 2, f"10.0.{n // 250}") for n in range(count)]


def steps(change: Generator[None, None, Changes]) -> int:
    count = 0
    while True:
        try:
            next(change)
        except StopIteration:
            return count
        count += 1


def test_a_large_change_gives_others_a_turn_every_hundred_entities() -> None:
    fabric = started()
    assert steps(fabric.diff_in_steps(many(300), [])) == 3 + 3 + 3  # looked at, put in, checked
    assert steps(fabric.diff_in_steps(many(300, "h2"), [])) == 3 + 3 + 3 + 3 + 3  # taken out, left behind
    assert steps(fabric.diff_in_steps([], [("VM", one.name) for one in many(300)])) == 3 + 3
    assert steps(fabric.diff_in_steps([], [])) == 0
    assert fabric.version == 4


@pytest.mark.parametrize("after", range(0, 15, 2))
def test_a_change_that_is_given_up_leaves_nothing(after: int) -> None:
    fabric = started(*many(300))
    before, version = dict(fabric.entities), fabric.version
    change = fabric.diff_in_steps([*many(300, "h2"), vm("x", "green", "h1", 9)], [])
    for _ in range(after):
        next(change)
    change.close()
    assert (fabric.entities, fabric.version) == (before, version)
    assert len(fabric.diff(many(300, "h2"), []).changed) == 300


# --- what is asked of the store -------------------------------------------------------------------------


def test_changes_are_something_where_anything_came_changed_or_went() -> None:
    assert not Changes(5)
    assert all((Changes(1, added=(B1,)), Changes(1, changed=((B1, B2),)), Changes(1, removed=(B1,))))


def test_the_version_grows_with_each_change_and_the_first_full_update() -> None:
    fabric = IntentStore()
    assert (fabric.full_update([]).version, fabric.synced) == (1, True)
    assert fabric.full_update([]).version == 1
    assert fabric.full_update([host(1)]).version == 2
    assert fabric.diff([host(1).model_copy(update={"region": "west"})], []).version == 3
    assert fabric.diff([], [("Host", "h1"), ("Host", "h1")]).version == 4
    assert fabric.diff([], [("Host", "h1")]).version == 4


def test_entities_are_listed_by_type() -> None:
    fabric = started(B3)
    names = {name: [one["name"] for one in fabric.listed(name)["entities"]] for name in ("VM", "Host", "Route")}
    assert names == {"VM": ["b3"], "Host": ["h1", "h2"], "Route": []}
    whole = fabric.listed("")
    assert (whole["version"], len(whole["entities"])) == (1, 7)
    assert whole["entities"][-1] == {
        "type": "VM", "name": "b3", "network": "blue", "ip": "10.0.0.4", "mac": B3.mac, "host": "h1",
    }  # fmt: skip
    with pytest.raises(EntityError, match="unknown entity type 'Volcano'") as refused:
        fabric.listed("Volcano")
    assert refused.value.where == "Volcano/"


def test_a_trial_returns_what_a_change_would_do_and_changes_nothing() -> None:
    fabric = started(B3, route("r", "blue", "192.168.7.0/24", "b3"))
    before = dict(fabric.entities)
    moved = B3.model_copy(update={"host": "h2"})
    changes = fabric.trial([moved, G1], [("Route", "r")], 1)
    assert changes == fabric.trial([moved, G1], [("Route", "r")], 1)
    assert (changes.added, changes.changed, changes.version) == ((G1,), ((B3, moved),), 2)
    assert [one.name for one in changes.removed] == ["r"]
    assert (fabric.entities, fabric.version) == (before, 1)
    assert fabric.diff([moved, G1], [("Route", "r")]) == changes


@pytest.mark.parametrize(
    ("count", "text"), [(1, "VM/b0"), (3, "VM/b0, VM/b1, VM/b2"), (4, "VM/b0, VM/b1, VM/b2 and 1 more")]
)
def test_a_removal_names_three_of_those_that_need_it(count: int, text: str) -> None:
    refused = in_use(host(1), many(count))
    assert (refused.what, refused.where) == (f"it is still needed by {text}", "Host/h1.name")


def test_what_is_set_and_removed_is_named_the_first_of_several() -> None:
    with pytest.raises(EntityError) as refused:
        started().diff([B3, vm("a", "blue", "h1", 9), G1], [("VM", "b3"), ("VM", "a"), ("VM", "g1")])
    assert refused.value.where == "VM/a.name"
