"""Load balancers by plain examples: which backend gets a flow, in any order of events, and which VM may answer."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.testing.fake_switch import Journey
from controllers.testing.world import World, host, hoverboard, place, ready, vm
from controllers.vmc.flow_groups.load_balancer import buckets
from controllers.vmc.models import MODELS as ALL_MODELS
from hoverboard.contract.entities import VM, FirewallRule, LoadBalancer, Network
from hoverboard.contract.openflow.policy import BUCKETS, bucket_of
from tests.unit.controllers.policy_oracle import Talk

MODELS = sorted(ALL_MODELS)
RELAYING = sorted(name for name, model in ALL_MODELS.items() if model.relays)
VIP = IPv4Address("10.0.0.99")
# Two backends on two hosts; a client beside one of them, and one on a third host.
B1, B2 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3)
NEAR, FAR = vm("c1", "blue", "h1", 8), vm("c3", "blue", "h3", 9)
PORTS = range(40000, 40008, 2)  # of buckets of both backends, whichever client sends


def balancer(*backends: str, **more: object) -> LoadBalancer:
    given: dict[str, object] = {"name": "lb", "network": "blue", "ip": VIP, "backends": backends or ("b1", "b2")}
    return LoadBalancer.model_validate(given | {"protocol": "tcp"} | more)


def started(model: str, *vms: VM) -> World:
    world = ready(model, hosts=3)
    place(world, *vms)
    return world


def served(world: World, client: VM, of: LoadBalancer, protocol: str = "tcp", port: int = 80) -> set[str]:
    """Sends flows from several ports; returns who got theirs. A flow goes to its bucket's backend or is dropped."""
    found = set()
    for source in PORTS:
        journey = world.speak(client, VIP, Talk(protocol, source, port))
        chosen = buckets(of.name, frozenset(of.backends))[0][bucket_of(int(client.ip), source)]
        if journey.delivered:
            backend = world.core.view.vms[chosen]
            assert journey.delivered == ((backend.host, world.core.view.ports[chosen]),)
            found.add(chosen)
        else:
            found.add(f"{chosen} dropped")
    return found


@pytest.mark.parametrize("model", MODELS)
def test_flows_go_to_the_backend_of_their_bucket_from_wherever(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    world.diff([balancer()])
    for client in (NEAR, FAR):
        assert served(world, client, balancer()) == {"b1", "b2"}


@pytest.mark.parametrize("model", MODELS)
def test_a_hoverboard_chooses_where_the_model_relays_else_the_senders_host(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    world.diff([balancer()])
    ways = {(client.host, world.speak(client, VIP, Talk("tcp", port, 80)).hops)
            for client in (NEAR, FAR) for port in PORTS}  # fmt: skip
    if model in RELAYING:
        assert ways == {(at, (at, "hv1", to)) for at in ("h1", "h3") for to in ("h1", "h2")}
    else:
        assert ways == {("h1", ("h1",)), ("h1", ("h1", "h2")), ("h3", ("h3", "h1")), ("h3", ("h3", "h2"))}


@pytest.mark.parametrize("model", MODELS)
def test_backends_answer_from_the_shared_address_and_no_other_vm_does(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    answer = Talk("tcp", 80, 40000)
    for sender in (B1, NEAR):
        assert world.speak(sender, FAR.ip, answer, VIP).dropped == ("spoofed",)
    world.diff([balancer("b1")])
    assert world.speak(B1, FAR.ip, answer, VIP).delivered == (("h3", world.core.view.ports["c3"]),)
    for sender in (B2, NEAR, FAR):
        assert world.speak(sender, B1.ip, answer, VIP).dropped == ("spoofed",)


@pytest.mark.parametrize("model", MODELS)
def test_backends_may_be_plugged_in_after_the_balancer_is_made(model: str) -> None:
    world = started(model, NEAR, FAR)
    world.diff([B1, B2])
    world.diff([balancer()])
    assert served(world, FAR, balancer()) == {"b1 dropped", "b2 dropped"}
    place(world, B1)
    assert served(world, FAR, balancer()) == served(world, NEAR, balancer()) == {"b1", "b2 dropped"}
    place(world, B2)
    assert served(world, FAR, balancer()) == served(world, NEAR, balancer()) == {"b1", "b2"}
    world.unbind("h2", "b2")
    assert served(world, FAR, balancer()) == served(world, NEAR, balancer()) == {"b1", "b2 dropped"}


@pytest.mark.parametrize("model", MODELS)
def test_a_host_that_joins_the_network_later_knows_the_balancer(model: str) -> None:
    world = started(model, B1, B2)
    world.diff([balancer()])
    before = world.tables()
    place(world, FAR)
    assert served(world, FAR, balancer()) == {"b1", "b2"}
    world.diff(remove=[("VM", "c3")])
    assert world.tables()["h3"] == before["h3"]
    # A host that is new altogether.
    late = vm("c4", "blue", "h4", 10)
    world.connect(host(4))
    world.hello("h4")
    world.diff([host(4)])
    place(world, late)
    assert served(world, late, balancer()) == {"b1", "b2"}


@pytest.mark.parametrize("model", MODELS)
def test_a_backend_may_move_and_its_flows_follow(model: str) -> None:
    world = started(model, B1, B2, FAR)
    world.diff([balancer()])
    moved = vm("b2", "blue", "h3", 3)
    place(world, moved)
    assert served(world, FAR, balancer()) == {"b1", "b2"}
    assert world.speak(moved, B1.ip, Talk("tcp", 80, 40000), VIP).delivered


@pytest.mark.parametrize("model", RELAYING)
def test_every_hoverboard_balances_the_ones_that_come_later_too(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    world.diff([balancer()])
    world.connect(hoverboard(2))
    world.hello("hv2")
    world.diff([hoverboard(2)])
    world.diff(remove=[("Hoverboard", "hv1")])
    for client in (NEAR, FAR):
        assert served(world, client, balancer()) == {"b1", "b2"}


@pytest.mark.parametrize("model", MODELS)
def test_only_the_ports_and_the_protocol_that_are_served_reach_a_backend(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    one = balancer(protocol="tcp", ports=[80, "8000-8003"])
    world.diff([one])
    dropped = {"b1 dropped", "b2 dropped"}
    for client in (NEAR, FAR):
        for port in (80, 8000, 8003):
            assert served(world, client, one, port=port) == {"b1", "b2"}
        for port in (81, 7999, 8004):
            assert served(world, client, one, port=port) == dropped
        assert served(world, client, one, "udp") == dropped
        assert not world.speak(client, VIP, Talk("icmp", 8)).delivered


def arrived(journey: Journey, world: World) -> str:
    """The VM that a packet arrived at."""
    ((switch, port),) = journey.delivered
    return next(name for name, number in world.core.view.ports.items()
                if number == port and world.core.view.vms[name].host == switch)  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_what_has_no_ports_goes_by_the_clients_address(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    every = balancer(protocol="any")
    world.diff([every])
    others = buckets("lb", frozenset({"b1", "b2"}))[1]
    for client in (NEAR, FAR):
        for talk in (Talk(), Talk("icmp", 8)):
            assert arrived(world.speak(client, VIP, talk), world) == others[bucket_of(int(client.ip), None)]
        assert served(world, client, every, "udp", 53) == served(world, client, every) == {"b1", "b2"}


@pytest.mark.parametrize("model", MODELS)
def test_the_firewall_stands_before_a_backend_and_an_answer_too(model: str) -> None:
    world = started(model, B1, B2, NEAR, FAR)
    rules = [
        {"name": "r", "direction": "ingress", "targets": ["db"]},
        {"name": "s", "direction": "egress", "tags": ["db"]},
    ]
    world.diff([
        balancer(), B2.model_copy(update={"tags": ("db",)}),
        *(FirewallRule.model_validate({"network": "blue", "action": "deny"} | one) for one in rules),
    ])  # fmt: skip
    for client in (NEAR, FAR):
        assert served(world, client, balancer()) == {"b1", "b2 dropped"}
    answer = Talk("tcp", 80, 40000)
    assert world.speak(B1, FAR.ip, answer, VIP).delivered
    assert world.speak(B1, B2.ip, answer, VIP).dropped == ("firewall-egress",)
    world.diff(remove=[("FirewallRule", "r"), ("FirewallRule", "s")])
    assert served(world, FAR, balancer()) == {"b1", "b2"}


@pytest.mark.parametrize("model", MODELS)
def test_a_balancer_that_goes_leaves_nothing(model: str) -> None:
    world = started(model, B1, B2, FAR)
    before = world.tables()
    world.diff([balancer()])
    world.diff([balancer("b2")])
    assert served(world, FAR, balancer("b2")) == {"b2"}
    assert world.speak(B1, FAR.ip, Talk(), VIP).dropped == ("spoofed",)
    world.diff(remove=[("LoadBalancer", "lb")])
    assert world.tables() == before


@pytest.mark.parametrize("model", sorted(set(MODELS) - set(RELAYING)))
def test_hoverboards_that_relay_nothing_hold_nothing_of_it(model: str) -> None:
    world = started(model, B1, B2, FAR)
    before = world.tables()
    world.diff([balancer()])
    changed = {name for name, table in world.tables().items() if table != before[name]}
    assert changed == {"h1", "h2", "h3"}


@settings(max_examples=30)
@given(st.sets(st.sampled_from([f"vm-{n}" for n in range(12)]), min_size=2), st.data())
def test_a_backend_that_goes_moves_only_its_own_buckets(backends: set[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(backends)))
    for before, after in zip(
        buckets("lb", frozenset(backends)), buckets("lb", frozenset(backends - {gone})), strict=True
    ):
        assert all(new == old for old, new in zip(before, after, strict=True) if old != gone)
        assert gone not in after


def test_buckets_are_spread_for_each_balancer_in_its_own_way() -> None:
    for count in (2, 4, 8):
        chosen = buckets("web", frozenset(f"vm-{n}" for n in range(count)))[0]
        shares = [chosen.count(name) for name in set(chosen)]
        assert len(shares) == count
        assert max(shares) < 2.5 * BUCKETS / count, shares
    flows, others = buckets("web", frozenset({"a", "b"}))
    assert (len(flows), len(others)) == (BUCKETS, 16)
    assert flows != buckets("mail", frozenset({"a", "b"}))[0]
    assert flows[:16] != others


def test_buckets_stay_where_they_are_from_one_version_to_the_next() -> None:
    """Controllers of one cluster agree, whatever their versions."""
    flows, others = buckets("front", frozenset({"a", "b", "c"}))
    assert "".join(flows) == "abcacacaacbabbccbbcccabccccbacaaabacabaabcacaccbcbbcacccbbaacaac"
    assert "".join(others) == "abcbaaacabbbccab"


def test_one_more_backend_touches_its_host_and_the_hoverboards_only() -> None:
    world = started("hoverboard", B1, B2, FAR)
    world.diff([balancer("b1")])
    world.changed.clear()
    world.diff([balancer("b1", "b2")])
    assert world.changed == {"h1", "h2", "hv1"}


def test_usage_of_a_backend_that_answers_is_neither_offloaded_nor_strange() -> None:
    world = started("hoverboard", B1, B2)
    world.diff([balancer("b1")])
    world.usage("h1", 7, str(VIP), "10.0.0.3", 1_000_000)
    world.usage("h2", 7, "10.0.0.3", str(VIP), 1_000_000)
    assert not world.policy.active
    assert world.core.counters["usage_flows_not_sent_by_reporter"] == 0


@pytest.mark.parametrize("model", MODELS)
def test_the_flows_of_a_backend_that_is_not_plugged_in_go_to_no_other(model: str) -> None:
    world = started(model, B1, B2)
    world.diff([vm("b4", "blue", "h2", 5)])  # beside b2
    world.diff([balancer("b2", "b4")])
    to = {world.speak(B1, VIP, Talk("tcp", port, 80)).dropped or "b2" for port in PORTS}
    assert to == {("no-such-vm",), "b2"}


def test_a_change_of_the_networks_number_reaches_its_balancers() -> None:
    world = started("hoverboard", B1, B2, FAR)
    world.diff([balancer()])
    world.diff([Network(name="blue", vni=77)])
    assert served(world, FAR, balancer()) == {"b1", "b2"}
