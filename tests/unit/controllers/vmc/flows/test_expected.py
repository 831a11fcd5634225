"""Which flows switches should hold: what is asked again for a mark, and what a switch is sent for a difference."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from controllers.program import Program, block
from controllers.testing.world import cluster, route, vm
from controllers.vmc.flows.expected import ExpectedFlows
from controllers.vmc.view.flow_scopes import (
    BalancerScope,
    FirewallScope,
    LookupScope,
    NetworkScope,
    OffloadScope,
    RouteScope,
    Scope,
    VmScope,
)
from controllers.vmc.view.intent import View
from hoverboard.contract.entities import AnyEntity, FirewallRule, LoadBalancer, Network
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import base_flows
from tests.unit.controllers.vmc.written_model import WrittenModel, flow

B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
OF_B1, OF_B2, BLUE = VmScope("b1"), VmScope("b2"), NetworkScope("blue")
PAIR, ANSWER = OffloadScope("b1", "b2"), LookupScope("h1", "blue", IPv4Address("10.0.0.3"))


class Book:
    """Expected flows of h1, h2 and hv1, settled, under a model that a test writes."""

    def __init__(self, *more: AnyEntity, offloads: bool = True, answers: bool = True) -> None:
        self.view = View()
        for entity in (*cluster(), B1, B2, *more):
            self.view.add(entity)
        self.model = WrittenModel(offloads=offloads, answers=answers)
        self.expected = ExpectedFlows(self.model, self.view)
        for switch in ("h1", "h2", "hv1"):
            self.expected.add_switch(switch)
        self.first = self.expected.settle()

    def write(self, scope: Scope, **flows: tuple[Flow, ...]) -> None:
        """Set the scope's flows on each switch, and mark it."""
        for switch in ("h1", "h2", "hv1"):
            self.model.flows.pop((switch, scope), None)
        self.model.flows.update({(switch, scope): one for switch, one in flows.items()})
        self.expected.mark(scope)

    def beyond_base(self) -> dict[str, set[Flow]]:
        base = set(base_flows())
        return {name: set(table.by_key().values()) - base for name, table in self.expected.tables.items()}


def test_a_switch_that_is_added_needs_what_every_switch_has_and_once() -> None:
    book = Book()
    assert set(book.first) == {"h1", "h2", "hv1"}
    assert list(book.first["h1"].adds) == base_flows()
    assert book.first["h1"].deletes == ()
    assert book.expected.settle() == {}
    assert len(book.expected.tables["h1"]) == len(base_flows())
    assert list(book.expected.tables["h1"].flows) == base_flows()


def test_a_scope_is_asked_about_where_it_belongs_and_where_it_was() -> None:
    book = Book()
    book.write(OF_B1, h1=(flow(1),), hv1=(flow(1), flow(2)))
    assert book.expected.settle() == {"h1": Program((flow(1),)), "hv1": Program((flow(1), flow(2)))}
    book.write(OF_B1, h2=(flow(1),), hv1=(flow(1, 7), flow(3)))
    assert book.expected.settle() == {
        "h1": Program((), (flow(1).key,)),
        "h2": Program((flow(1),)),
        "hv1": Program((flow(1, 7), flow(3)), (flow(2).key,)),
    }
    assert book.beyond_base() == {"h1": set(), "h2": {flow(1)}, "hv1": {flow(1, 7), flow(3)}}
    book.write(OF_B1)
    assert book.expected.settle() == {
        "h2": Program((), (flow(1).key,)),
        "hv1": Program((), (flow(1).key, flow(3).key)),
    }
    assert book.beyond_base() == {"h1": set(), "h2": set(), "hv1": set()}
    book.model.asked.clear()
    book.write(OF_B1, h2=(flow(1),))
    book.expected.settle()
    assert book.model.asked == [("h2", OF_B1)]
    book.write(OF_B1)
    book.expected.settle()
    assert OF_B1 not in book.expected._holders  # of what comes and goes nothing stays


def test_what_stays_the_same_is_not_sent() -> None:
    book = Book()
    book.write(OF_B1, h1=(flow(1), flow(2), flow(3)))
    book.expected.settle()
    book.write(OF_B1, h1=(flow(1), flow(2), flow(3)))
    assert book.expected.settle() == {}
    book.write(OF_B1, h1=(flow(3), flow(4), flow(1)))  # in another order
    assert book.expected.settle() == {"h1": Program((flow(4),), (flow(2).key,))}
    book.write(OF_B1, h1=(flow(1), flow(3), flow(4)))
    assert book.expected.settle() == {}
    book.model.flows["h1", OF_B1] = (flow(9),)  # nothing is looked at that is not marked
    assert book.expected.settle() == {}


def test_flows_that_go_from_one_scope_to_another_are_replaced_in_one_change() -> None:
    book = Book()
    book.write(OF_B1, h1=(flow(1), flow(3)))
    book.write(OF_B2, h1=(flow(2),))
    book.expected.settle()
    book.write(OF_B1, h1=(flow(2, 7), flow(3)))
    book.write(OF_B2, h1=(flow(1),))
    assert book.expected.settle() == {"h1": Program((flow(2, 7),))}
    assert book.beyond_base()["h1"] == {flow(1), flow(2, 7), flow(3)}


def test_blocks_of_flows_are_compared_flow_by_flow() -> None:
    def made(first: int, second: int) -> list[Flow]:
        return [flow(first), flow(second)]

    book = Book()
    book.write(OF_B1, h1=(block(made, 1, 2), flow(5)))  # type: ignore[arg-type]
    (program,) = book.expected.settle().values()
    assert (tuple(program.adds), program.parts) == ((flow(1), flow(2), flow(5)), (block(made, 1, 2), flow(5)))
    book.write(OF_B1, h1=(block(made, 2, 3), flow(5)))  # type: ignore[arg-type]
    assert book.expected.settle() == {"h1": Program((flow(3),), (flow(1).key,))}


def test_a_scope_may_be_looked_at_on_one_switch_only() -> None:
    book = Book()
    book.write(OF_B1, h1=(flow(1),), h2=(flow(1),))
    book.expected.settle()
    book.model.flows = {("h1", OF_B1): (flow(2),), ("h2", OF_B1): (flow(2),)}
    book.expected.mark(OF_B1, "h2")
    book.expected.mark(OF_B1, "not ours")
    assert book.expected.settle() == {"h2": Program((flow(2),), (flow(1).key,))}


def test_a_switch_that_goes_is_forgotten_and_not_touched() -> None:
    book = Book()
    book.write(OF_B1, h1=(flow(1),), h2=(flow(1),))
    book.write(OF_B2, h2=(flow(2),))
    book.expected.settle()
    book.expected.remove_switch("h2")
    assert set(book.expected.tables) == {"h1", "hv1"}
    assert book.expected.settle() == {}
    book.write(OF_B1, h1=(flow(1),), h2=(flow(3),))
    assert book.expected.settle() == {}
    book.expected.add_switch("h2")  # it comes back with nothing
    book.model.where = {OF_B1: ("h1",)}
    book.write(OF_B1, h1=(flow(4),), h2=(flow(4),))
    assert book.expected.settle() == {"h1": Program((flow(4),), (flow(1).key,)), "h2": book.first["h2"]}


@pytest.mark.parametrize(
    ("scope", "more"),
    [
        (BLUE, ()),
        (OF_B1, ()),
        (RouteScope("blue", IPv4Network("192.168.7.0/24")), (route("r", "blue", "192.168.7.0/24", "b1"),)),
    ],
)
def test_what_intent_asks_for_is_there_while_the_entity_is(scope: Scope, more: tuple[AnyEntity, ...]) -> None:
    book = Book(*more)
    book.write(scope, hv1=(flow(1),))
    assert book.expected.settle() == {"hv1": Program((flow(1),))}
    for entity in more or ([B1] if scope == OF_B1 else [cluster()[0]]):
        book.view.remove(entity)
    book.expected.mark(scope)
    assert book.expected.settle() == {"hv1": Program((), (flow(1).key,))}
    for unknown in (
        NetworkScope("red"),
        VmScope("nobody"),
        BalancerScope("none"),
        FirewallScope("red"),
    ):
        book.expected.mark(unknown)
        book.expected.mark(unknown, "hv1")
    assert book.expected.settle() == {}


@pytest.mark.parametrize(("scope", "on"), [(PAIR, "h1"), (ANSWER, "h1")])
def test_what_is_granted_has_flows_until_it_is_taken_back(scope: Scope, on: str) -> None:
    book = Book()
    book.write(scope, h1=(flow(1),), h2=(flow(1),), hv1=(flow(1),))
    assert book.expected.settle() == {}
    book.expected.grant(scope, True)
    assert book.expected.settle() == {on: Program((flow(1),))}
    book.write(scope, h1=(flow(2),))
    assert book.expected.settle() == {on: Program((flow(2),), (flow(1).key,))}
    book.expected.grant(scope, False)
    assert book.expected.settle() == {on: Program((), (flow(2).key,))}
    assert book.expected.granted == set()


@pytest.mark.parametrize(
    ("scope", "offloads", "answers", "granted"),
    [(PAIR, True, False, True), (PAIR, False, True, False), (ANSWER, False, True, True), (ANSWER, True, False, False)],
)
def test_a_model_takes_what_it_knows(scope: Scope, offloads: bool, answers: bool, granted: bool) -> None:
    book = Book(offloads=offloads, answers=answers)
    book.write(scope, h1=(flow(1),))
    book.expected.grant(scope, True)
    assert bool(book.expected.settle()) is granted
    assert book.expected.granted == ({scope} if granted else set())


def test_an_offload_is_at_the_host_that_its_sender_has_now() -> None:
    book = Book()
    book.write(PAIR, h1=(flow(1),), h2=(flow(1),))
    book.expected.grant(PAIR, True)
    book.expected.settle()
    book.view.remove(B1)
    book.view.add(vm("b1", "blue", "h2", 2))
    book.expected.mark(PAIR)
    assert book.expected.settle() == {"h1": Program((), (flow(1).key,)), "h2": Program((flow(1),))}


def test_firewalls_and_load_balancers_are_the_same_under_every_model() -> None:
    rule = FirewallRule(name="f", network="blue", direction="ingress", action="deny")
    shared = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.100"), backends=("b1",))
    book = Book(rule, shared)
    book.expected.mark(FirewallScope("blue"))
    assert set(book.expected.settle()) == {"h1", "h2"}  # the hosts that have a VM of it
    book.expected.mark(BalancerScope("lb"))
    assert set(book.expected.settle()) == {"h1", "hv1"}  # the backend's, and who relays
    book.view.remove(rule)
    book.view.remove(shared)
    for scope in (FirewallScope("blue"), BalancerScope("lb")):
        book.expected.mark(scope)
    gone = book.expected.settle()
    assert set(gone) == {"h1", "h2", "hv1"}
    assert not any(program.adds for program in gone.values())
    assert all(not flows for flows in book.beyond_base().values())


def test_a_firewall_is_not_asked_about_where_the_network_is_gone() -> None:
    book = Book(FirewallRule(name="f", network="blue", direction="ingress", action="deny"))
    book.expected.mark(FirewallScope("blue"))
    book.expected.settle()
    book.view.remove(Network(name="blue", vni=7))
    book.expected.mark(FirewallScope("blue"))
    assert {name: bool(program.adds) for name, program in book.expected.settle().items()} == {"h1": False, "h2": False}


def test_the_same_share_under_another_model_begins_empty() -> None:
    book = Book()
    other = WrittenModel()
    other.flows = {("h1", OF_B1): (flow(8),)}
    again = book.expected.under(other)
    assert (again.tables, again.model) == ({}, other)
    again.add_switch("h1")
    again.mark(OF_B1)
    assert set(again.settle()["h1"].adds) == {*base_flows(), flow(8)}


# --- a switch that was read ---------------------------------------------------------------------------


def test_a_switch_that_holds_nothing_gets_everything_and_any_other_the_difference() -> None:
    book = Book()
    book.write(OF_B1, h1=(flow(1), flow(2), flow(3)))
    book.expected.settle()
    table = book.expected.tables["h1"]
    whole = table.program_from({})
    assert (set(whole.adds), whole.deletes, whole.parts[0]) == (set(table.flows), (), block(base_flows))
    held = table.by_key()
    assert not table.program_from(held)
    del held[flow(1).key]
    held[flow(2).key] = flow(2, 9)
    held[flow(7).key] = flow(7)
    assert table.program_from(held) == Program((flow(1), flow(2)), (flow(7).key,))
