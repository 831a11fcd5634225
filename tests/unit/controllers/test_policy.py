"""Firewall and load balancers: the masks and buckets they are made of, what they cost, and plain examples."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from control_plane_world import World, place, ready, vm
from hypothesis import given
from hypothesis import strategies as st
from policy_oracle import Talk

from controllers.vmc.models.loadbalancer import buckets
from hoverboard.contract.entities import FirewallRule, LoadBalancer, Network
from hoverboard.contract.policy import BUCKETS, port_masks

MODELS = ["hoverboard", "preprogrammed"]
B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h3", 4)
HTTP, SSH = Talk("tcp", 40000, 80), Talk("tcp", 40000, 22)
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


@given(st.sets(st.sampled_from([f"vm-{n}" for n in range(12)]), min_size=2), st.data())
def test_a_backend_that_goes_moves_only_its_own_buckets(backends: set[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(backends)))
    for before, after in zip(
        buckets("lb", frozenset(backends)), buckets("lb", frozenset(backends - {gone})), strict=True
    ):
        assert all(new == old for old, new in zip(before, after, strict=True) if old != gone)
        assert gone not in after


def test_buckets_are_spread() -> None:
    for count in (2, 4, 8):
        chosen = buckets("web", frozenset(f"vm-{n}" for n in range(count)))[0]
        shares = [chosen.count(name) for name in set(chosen)]
        assert len(shares) == count
        assert max(shares) < 2.5 * BUCKETS / count, shares


@pytest.mark.parametrize("model", MODELS)
def test_a_network_without_policy_has_not_one_flow_of_it(model: str) -> None:
    world = world_of(model)
    first = world.tables()
    world.diff([blue(ingress="deny"), rule("r", "ingress", "allow"),
                LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1",))])  # fmt: skip
    assert world.tables() != first
    world.diff([blue()], [("FirewallRule", "r"), ("LoadBalancer", "lb")])
    assert world.tables() == first
    names = {"EGRESS", "INGRESS", "VPORT", "BALANCE", "RELAY_BALANCE"}
    from hoverboard.contract.pipeline import Table

    assert not {Table(key[0]).name for table in first.values() for key in table} & names


@pytest.mark.parametrize("model", MODELS)
def test_deny_by_default_lets_answers_back_and_nothing_else(model: str) -> None:
    world = world_of(model)
    world.diff([blue(ingress="deny"), rule("web", "ingress", "allow", protocol="tcp", ports=[80], targets=["web"]),
                B2.model_copy(update={"tags": ("web",)})])  # fmt: skip
    assert world.speak(B1, B2.ip, HTTP).delivered
    assert world.speak(B2, B1.ip, Talk("tcp", 80, 40000)).delivered
    assert world.speak(B1, B2.ip, SSH).dropped == ("firewall-ingress",)
    assert world.speak(B1, B3.ip, HTTP).dropped == ("firewall-ingress",)
    # An answer to what another VM may have asked; a client's port to a client's port is none.
    assert world.speak(B3, B1.ip, Talk("udp", 53, 33000)).delivered
    assert world.speak(B3, B1.ip, Talk("udp", 33000, 53)).dropped == ("firewall-ingress",)
    assert world.speak(B3, B1.ip, Talk("tcp", 50000, 50001)).dropped == ("firewall-ingress",)


@pytest.mark.parametrize("order", [["a", "d"], ["d", "a"]])
def test_a_denial_wins_over_the_same_number(order: list[str]) -> None:
    rules = {
        "a": rule("a", "ingress", "allow", protocol="tcp"),
        "d": rule("d", "ingress", "deny", ports=[22], protocol="tcp"),
    }
    world = world_of("hoverboard")
    world.diff([rules[name] for name in order])
    assert world.speak(B1, B2.ip, HTTP).delivered
    assert world.speak(B1, B2.ip, SSH).dropped == ("firewall-ingress",)
    world.diff([rules["a"].model_copy(update={"priority": 999})])
    assert world.speak(B1, B2.ip, SSH).delivered


def test_egress_denied_still_reaches_the_gateway() -> None:
    world = world_of("hoverboard")
    world.diff([blue(egress="deny"), rule("all", "egress", "deny", priority=0)])
    assert world.speak(B1, IPv4Address("10.0.0.1"), Talk("icmp", 8)).delivered == (("h1", world.core.view.ports["b1"]),)
    assert world.speak(B1, B2.ip, HTTP).dropped == ("firewall-egress",)


def test_a_rule_without_tags_costs_nothing_when_a_vm_comes() -> None:
    world = world_of("hoverboard")
    world.diff([blue(ingress="deny"), rule("web", "ingress", "allow", protocol="tcp", ports=["1000-1999"])])
    world.sent.clear()
    place(world, vm("b4", "blue", "h1", 5))
    assert {name for name, _ in world.sent} == {"h1", "hv1"}
    assert sum(len(program) for _, program in world.sent) < 12


def test_one_more_backend_touches_its_host_and_the_hoverboards_only() -> None:
    world = world_of("hoverboard")
    lb = LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1",))
    world.diff([lb])
    world.changed.clear()
    world.diff([lb.model_copy(update={"backends": ("b1", "b2")})])
    assert world.changed == {"h1", "h2", "hv1"}


def test_usage_of_a_backend_that_answers_is_neither_offloaded_nor_strange() -> None:
    world = world_of("hoverboard")
    world.diff([LoadBalancer(name="lb", network="blue", ip=IPv4Address("10.0.0.99"), backends=("b1",))])
    world.usage("h1", 7, "10.0.0.99", "10.0.0.3", 1_000_000)
    world.usage("h2", 7, "10.0.0.3", "10.0.0.99", 1_000_000)
    assert not world.policy.active
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 0


def test_the_flows_of_a_backend_that_is_not_plugged_in_go_to_no_other() -> None:
    world = world_of("hoverboard")
    world.diff([vm("b4", "blue", "h2", 5)])  # beside b2, and never plugged in
    shared = IPv4Address("10.0.0.99")
    world.diff([LoadBalancer(name="lb", network="blue", ip=shared, backends=("b2", "b4"))])
    to = {world.speak(B1, shared, Talk("tcp", port, 80)).dropped or "b2" for port in range(40000, 40064)}
    assert to == {("no-such-vm",), "b2"}


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
