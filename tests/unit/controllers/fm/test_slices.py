"""Requests cut into pieces: by network and size, in an order in which each piece leaves a whole intent behind."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controllers.fm.intent_store import Changes, IntentStore
from controllers.fm.slices import SLICE, claims, cut, network_of
from controllers.testing.world import cluster, host, hoverboard, network, route, vm
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, LoadBalancer, Network

B1, B2, G1 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("g1", "green", "h1", 2)
BLUE, BLUE_SUB = network("blue")
RULE = FirewallRule(name="f", network="blue", direction="ingress", action="deny")
BALANCER = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.77"), backends=("b1",))
ROUTE = route("r", "blue", "192.168.7.0/24", "b1")


def full(*more: AnyEntity) -> IntentStore:
    fabric = IntentStore()
    fabric.full_update([*cluster(), *more])
    return fabric


def many(net: str, count: int) -> list[VM]:
    return [vm(f"{net}-{n}", net, f"h{1 + n % 2}", 2 + n) for n in range(count)]


def changed(entity: AnyEntity, **fields: object) -> tuple[AnyEntity, AnyEntity]:
    return entity, entity.model_copy(update=fields)


def pieces_of(changes: Changes, size: int = 1) -> dict[str, list[Changes]]:
    pieces = cut(changes, size)
    assert pieces is not None
    return pieces


def test_a_large_request_is_cut_by_network_and_size() -> None:
    pieces = cut(full().diff([*many("blue", 2 * 64 + 1), *many("green", 1)], []))
    assert pieces is not None
    assert {net: [len(piece.added) for piece in of_it] for net, of_it in pieces.items()} == {
        "blue": [64, 64, 1], "green": [1],
    }  # fmt: skip
    assert SLICE == 64


@pytest.mark.parametrize("of_one_kind", [True, False])
def test_pieces_hold_all_there_is_in_order_and_the_version(of_one_kind: bool) -> None:
    more = () if of_one_kind else (BALANCER,)
    added = (*many("blue", 3), *more, *many("green", 2))
    pieces = pieces_of(Changes(9, added=added), 2)
    assert [piece.added for piece in pieces["blue"]][0] == added[:2]
    assert [one for piece in pieces["blue"] for one in piece.added] == [*added[:3], *more]
    assert [piece.added for piece in pieces["green"]] == [added[-2:]]
    assert {piece.version for of_it in pieces.values() for piece in of_it} == {9}


@pytest.mark.parametrize(
    "given", [[ROUTE, B1, BLUE_SUB, BLUE], [RULE, B1, BLUE_SUB, BLUE], [BALANCER, B1, BLUE_SUB, BLUE]]
)
def test_what_stands_on_something_comes_after_it_and_goes_before_it(given: list[AnyEntity]) -> None:
    come = pieces_of(Changes(1, added=tuple(given)))["blue"]
    assert [piece.added for piece in come] == [(one,) for one in reversed(given)]
    gone = pieces_of(Changes(1, removed=tuple(reversed(given))))["blue"]
    assert [piece.removed for piece in gone] == [(one,) for one in given]


@pytest.mark.parametrize(
    "changes",
    [
        Changes(1, added=(B2,), removed=(B1,)),
        Changes(1, added=(B2, RULE), removed=(B1,)),
        Changes(1, added=(B2,), changed=(changed(B1, tags=("web",)),)),
        Changes(1, changed=(changed(B1, tags=("web",)),), removed=(B2,)),
        Changes(1, added=(RULE,), changed=(changed(B1, tags=("web",)),), removed=(ROUTE,)),
        Changes(1, changed=(changed(RULE, priority=5), changed(BALANCER, backends=("b2",)))),
        Changes(1, changed=(changed(B1, tags=("web",)), changed(B2, ip=B1.ip))),
        Changes(1, changed=(changed(B1, mac="06:00:00:00:00:09"), changed(B2, mac=B1.mac))),
    ],
)
def test_what_may_take_the_place_of_something_else_stays_in_one_piece(changes: Changes) -> None:
    assert pieces_of(changes) == {"blue": [changes]}


def test_an_address_that_goes_from_one_vm_to_another_stays_in_one_piece() -> None:
    fabric = full(*many("blue", 2))
    one, two = many("blue", 2)
    swap = [two.model_copy(update={"name": one.name}), one.model_copy(update={"name": two.name})]
    swapped = fabric.diff(swap, [])
    assert pieces_of(swapped) == {"blue": [swapped]}


def test_vms_that_keep_their_addresses_are_changed_one_by_one() -> None:
    pairs = (changed(B1, tags=("web",)), changed(B2, host="h1"), changed(G1, tags=("db",)))
    assert pieces_of(Changes(3, changed=pairs)) == {
        "blue": [Changes(3, changed=pairs[:1]), Changes(3, changed=pairs[1:2])],
        "green": [Changes(3, changed=pairs[2:])],
    }


@pytest.mark.parametrize(
    "changes",
    [
        Changes(1, added=(host(9), vm("x", "blue", "h9", 9))),
        Changes(1, removed=(hoverboard(1), B1)),
        Changes(1, changed=(changed(host(1), region="west"),)),
        Changes(1, changed=((vm("x", "blue", "h1", 9), vm("x", "green", "h1", 9)),)),
        Changes(1, added=(Network(name="red", vni=77),), removed=(Network(name="pink", vni=77),)),
        Changes(1, changed=((Network(name="red", vni=5), Network(name="red", vni=77)),),
                removed=(Network(name="pink", vni=77),)),
    ],
)  # fmt: skip
def test_what_concerns_more_than_each_network_for_itself_is_not_cut(changes: Changes) -> None:
    assert cut(changes) is None


def test_networks_with_vnis_of_their_own_are_cut() -> None:
    changes = Changes(1, added=(Network(name="red", vni=76),), removed=(Network(name="pink", vni=77),))
    assert pieces_of(changes) == {
        "red": [Changes(1, added=changes.added)], "pink": [Changes(1, removed=changes.removed)],
    }  # fmt: skip


def test_a_request_claims_names_of_all_that_it_touches_and_vnis() -> None:
    red = (Network(name="red", vni=5), Network(name="red", vni=77))
    assert claims(Changes(1, added=(B1,), changed=((G1, B2), red), removed=(BLUE,))) == {
        ("VM", "b1"), ("VM", "g1"), ("VM", "b2"), ("Network", "red"), ("Network", "blue"), 5, 77, 7,
    }  # fmt: skip


def test_everything_but_nodes_is_of_a_network() -> None:
    assert [network_of(one) for one in (BLUE, BLUE_SUB, B1, RULE, BALANCER, ROUTE, host(1), hoverboard(1))] == [
        *["blue"] * 6, None, None,
    ]  # fmt: skip
