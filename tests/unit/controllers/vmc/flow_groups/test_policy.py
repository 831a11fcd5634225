"""The cost of a firewall and load balancers: no flow where there is none, few changes where there are."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.testing.world import World, place, ready, vm
from controllers.vmc.models import MODELS as ALL_MODELS
from hoverboard.contract.entities import FirewallRule, LoadBalancer, Network
from hoverboard.contract.openflow.pipeline import Table
from hoverboard.contract.openflow.policy import port_masks

MODELS = sorted(ALL_MODELS)
B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
_RANGES = st.lists(
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda pair: (min(pair), max(pair))), min_size=1,
    max_size=4,
)  # fmt: skip


def rule(name: str, direction: str, action: str, **more: object) -> FirewallRule:
    given: dict[str, object] = {"name": name, "network": "blue", "direction": direction, "action": action}
    return FirewallRule.model_validate(given | more)


def blue(**more: object) -> Network:
    return Network.model_validate({"name": "blue", "vni": 7} | more)


def world_of(model: str) -> World:
    world = ready(model, hosts=3)
    place(world, B1, B2, B3)
    return world


@given(ranges=_RANGES, ports=st.lists(st.integers(0, 65535), max_size=50))
def test_masks_match_exactly_the_ranges(ranges: list[tuple[int, int]], ports: list[int]) -> None:
    ordered = rule("r", "ingress", "allow", protocol="tcp", ports=ranges).ports
    masks = port_masks(ordered)
    for port in {*ports, *(edge + by for pair in ranges for edge in pair for by in (-1, 0, 1))}:
        if not 0 <= port <= 65535:
            continue
        matched = sum(
            mask is None or (port == mask if isinstance(mask, int) else port & mask[1] == mask[0]) for mask in masks
        )
        assert matched == any(first <= port <= last for first, last in ranges), port


@pytest.mark.parametrize("model", MODELS)
def test_a_network_without_policy_has_not_one_flow_of_it(model: str) -> None:
    world = world_of(model)
    first = world.tables()
    world.diff([blue(ingress="deny"), rule("r", "ingress", "allow"),
                LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1",))])  # fmt: skip
    assert world.tables() != first
    world.diff([blue()], [("FirewallRule", "r"), ("LoadBalancer", "lb")])
    assert world.tables() == first
    of_policy = {Table.EGRESS, Table.INGRESS, Table.VPORT, Table.BALANCE, Table.RELAY_BALANCE}
    assert not {Table(key[0]) for table in first.values() for key in table} & of_policy


def test_a_rule_without_tags_costs_nothing_when_a_vm_comes() -> None:
    world = world_of("hoverboard")
    world.diff([blue(ingress="deny"), rule("web", "ingress", "allow", protocol="tcp", ports=["1000-1999"])])
    world.sent.clear()
    place(world, vm("b4", "blue", "h1", 5))
    assert {name for name, _ in world.sent} == {"h1", "hv1"}
    assert sum(len(program) for _, program in world.sent) < 12


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("tags", [(), ("web",)])
def test_rules_go_one_by_one_or_together(together: bool, tags: tuple[str, ...]) -> None:
    world = ready()
    before = world.tables()
    rules = [rule(name, "ingress", "deny", targets=tags if name == "a" else ()) for name in "abc"]
    for one in rules:
        world.diff([one])
    keys = [("FirewallRule", one.name) for one in rules]
    for gone in [keys] if together else [[key] for key in keys]:
        world.diff(remove=gone)
    assert world.tables() == before
