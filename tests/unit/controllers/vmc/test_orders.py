"""Messages in other legal orders give the same tables; whatever is applied and taken back leaves nothing.

What a controller hears comes over four lines (fabric manager, switches, their ports, hosts' agents) that know nothing
of each other: each line keeps its order, and any interleaving of them is legal. Within a program all messages differ
in what they match, so that a switch may take them in any order between two barriers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tests.unit.controllers.vmc.models.model_history as histories
from controllers.program import Program
from controllers.testing.fake_switch import FakeSwitch
from controllers.testing.world import VNIS, World, cluster, place, route, vm
from hoverboard.contract.entities import AnyEntity, LoadBalancer, Network
from hoverboard.contract.openflow.pipeline import Kind, kind_of

SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lines(world: World) -> list[list[Callable[[], object]]]:
    """The events of each connection, in its own order, until four VMs, a route and a shared address exist."""
    vms = [vm(f"b{n}", "blue", f"h{1 + n % 3}", n) for n in (2, 3, 4)] + [vm("g2", "green", "h1", 2)]
    shared = LoadBalancer.model_validate(
        {"name": "lb", "network": "blue", "ip": "10.0.0.100", "backends": ["b2", "b4"], "protocol": "tcp"}
    )
    later: list[list[AnyEntity]] = [
        [one] for one in (*vms, route("r", "blue", "192.168.7.0/24", "b3"), shared, vm("b2", "blue", "h2", 2))
    ]
    later.append([Network(name="green", vni=VNIS["green"], ingress="deny")])
    manager = [lambda: world.full_update(cluster(3, 2))]
    manager += [lambda one=one: world.diff(one) for one in later]
    nodes = [*histories.HOSTS, *histories.HOVERBOARDS]
    switches, agents = [], []
    for node in nodes:
        at = [one for one in vms if one.host == node.name or (one.name, node.name) == ("b2", "h2")]
        switch: list[Callable[[], object]] = [lambda node=node: world.connect(node)]
        agent: list[Callable[[], object]] = [lambda node=node: world.hello(node.name)]
        for number, one in enumerate(at):
            switch.append(lambda node=node, one=one, number=number: world.port(node, f"vp-{one.name}", 100 + number))
            agent.append(lambda node=node, one=one: world.bind(node.name, one.name, f"vp-{one.name}"))
        switches.append(switch)
        agents.append(agent)
    return [manager, *switches, *agents]


def play(model: str, pick: Callable[[int], int]) -> World:
    world = World(model)
    left = lines(world)
    while left:
        line = left[pick(len(left))]
        line.pop(0)()
        left = [one for one in left if one]
    return world


@pytest.mark.parametrize("model", histories.MODELS)
@SLOW
@given(seed=st.integers(0, 2**32))
def test_any_legal_order_of_messages_gives_the_same_tables(model: str, seed: int) -> None:
    straight, mixed = play(model, lambda _: 0), play(model, random.Random(seed).randrange)
    assert mixed.tables() == mixed.expected()
    assert mixed.tables() == straight.tables()
    assert straight.core.view.ports.keys() == {"b2", "b3", "b4", "g2"}


@pytest.mark.parametrize("model", histories.MODELS)
@SLOW
@given(actions=st.lists(histories.STEPS, max_size=15), seed=st.integers(0, 2**32))
def test_the_messages_of_a_program_may_be_taken_in_any_order(
    model: str, actions: list[tuple[Any, ...]], seed: int
) -> None:
    history = histories.begin(model)
    for action in actions:
        histories.step(history, action)
    draw, again = random.Random(seed), {}
    for name, program in history.world.sent:
        messages: list[Program] = [Program((), (key,)) for key in program.deletes]
        messages += [Program((flow,)) for flow in program.adds]
        draw.shuffle(messages)
        for one in messages:
            again.setdefault(name, FakeSwitch()).apply(one)
    assert {name: switch.flows for name, switch in again.items()} == {
        name: table for name, table in history.world.tables().items() if name in again
    }


@pytest.mark.parametrize("model", histories.MODELS)
@SLOW
@given(
    before=st.lists(histories.STEPS, max_size=15),
    after=st.lists(st.one_of(histories.POLICY_STEPS, histories.STEPS), min_size=1, max_size=10),
)
def test_whatever_is_applied_and_taken_back_leaves_nothing(
    model: str, before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    history = histories.begin(model)
    for action in before:
        histories.step(history, action)
    world = history.world
    intent, tables = dict(world.fabric.entities), world.tables()
    own = [action for action in after if action[0] in _INTENT]
    for action in own:
        histories.step(history, action)
    gone = [key for key in world.fabric.entities if key not in intent]
    world.diff([one for key, one in intent.items() if world.fabric.entities.get(key) != one], gone)
    assert world.fabric.entities == intent
    unlasting = {Kind.OFFLOAD, Kind.ROUTE, Kind.DROP_UNKNOWN_DESTINATION}
    keep = unlasting if world.core.model.answers else {Kind.OFFLOAD}

    def lasting(of: dict[str, dict[Any, Any]]) -> dict[str, set[Any]]:
        return {name: {one for one in table.values() if kind_of(one.cookie) not in keep} for name, table in of.items()}

    # No controller programs the switch of a node that left the intent: it keeps its flows.
    ours, before_it = lasting(world.tables()), lasting(tables)
    assert {name: ours[name] for name in world.expected()} == {name: before_it[name] for name in world.expected()}


_INTENT = {"vm", "remove", "route", "unroute", "policy", "tag", "rule", "unrule", "balance", "unbalance", "hoverboard"}


@pytest.mark.parametrize("model", histories.MODELS)
def test_routes_cannot_make_a_circle(model: str) -> None:
    """A next hop is a VM and no VM has an address that a route covers: what is routed once is never routed again."""
    world = World(model)
    world.full_update([*cluster(2, 1)])
    for node in (*histories.HOSTS[:2], histories.HOVERBOARDS[0]):
        world.connect(node)
        world.hello(node.name)
    one, two = vm("b2", "blue", "h1", 2), vm("b3", "blue", "h2", 3)
    place(world, one, two)
    world.diff([route("r", "blue", "192.168.0.0/16", "b2"), route("s", "blue", "192.168.7.0/24", "b3")])
    for sender, address, receiver in ((one, "192.168.7.7", two), (two, "192.168.8.8", one)):
        journey = world.send(sender, address)
        assert journey.delivered == ((receiver.host, world.core.view.ports[receiver.name]),)
    for sender, address in ((two, "192.168.7.7"), (one, "192.168.8.8")):  # to itself: given back once at most
        journey = world.send(sender, address)
        assert journey.delivered in ((), ((sender.host, world.core.view.ports[sender.name]),))
