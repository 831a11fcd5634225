"""The view of intent: every index that models ask, and that what is removed leaves nothing behind."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from controllers.testing.world import cluster, host, hoverboard, network, route, vm
from controllers.vmc.view.intent import View, addresses
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, LoadBalancer, Network, Subnetwork


def tagged(one: VM, *tags: str) -> VM:
    return one.model_copy(update={"tags": tags})


def rule(name: str, net: str, **fields: object) -> FirewallRule:
    given = {"name": name, "network": net, "direction": "ingress", "action": "deny"}
    return FirewallRule.model_validate(given | fields)


def balancer(name: str, net: str, last: int, *backends: str) -> LoadBalancer:
    return LoadBalancer(name=name, network=net, ip=IPv4Address(f"10.0.0.{last}"), backends=backends)


B1 = tagged(vm("b1", "blue", "h1", 2), "web", "db").model_copy(update={"ip6": IPv6Address("fd00:7::2")})
B2, B3 = tagged(vm("b2", "blue", "h2", 3), "web"), vm("b3", "blue", "h1", 4)
G1 = tagged(vm("g1", "green", "h1", 2), "web")
SIX = Subnetwork(name="six", network="blue", prefix=IPv4Network("10.1.0.0/24"), prefix6=IPv6Network("fd00:7::/64"))
WIDE, LOW, HIGH, INSIDE = (
    route("wide", "blue", "192.168.0.0/16", "b1"),
    route("low", "blue", "192.168.7.0/24", "b2", 5),
    route("high", "blue", "192.168.7.0/24", "b1", 6),
    route("inside", "blue", "192.168.7.128/25", "b3"),
)
OTHER = route("other", "green", "192.168.7.0/24", "g1")
WEB = rule("web", "blue", targets=("web",), tags=("db", "other"))
DB, PLAIN = rule("db", "blue", targets=("db",)), rule("plain", "green")
LB, LB2, LBG = (
    balancer("lb", "blue", 100, "b1", "b2"),
    balancer("lb2", "blue", 101, "b2"),
    balancer("g", "green", 100, "g1"),
)
ALL: list[AnyEntity] = [
    *cluster(2, 2), SIX, B1, B2, B3, G1, WIDE, LOW, HIGH, INSIDE, OTHER, WEB, DB, PLAIN, LB, LB2, LBG,
]  # fmt: skip
P16, P24, P25 = (IPv4Network(text) for text in ("192.168.0.0/16", "192.168.7.0/24", "192.168.7.128/25"))


def of(*entities: AnyEntity) -> View:
    view = View()
    for entity in entities:
        view.add(entity)
    return view


@pytest.fixture(scope="module")
def view() -> View:
    return of(*ALL)


@pytest.mark.parametrize("gone", ALL, ids=lambda one: f"{one.TYPE} {one.name}")
def test_what_is_removed_is_as_if_it_had_never_been(gone: AnyEntity) -> None:
    made = of(*ALL)
    made.remove(gone)
    assert vars(made) == vars(of(*(one for one in ALL if one != gone)))


@pytest.mark.parametrize("order", [ALL, ALL[::-1]])
def test_when_everything_is_removed_nothing_is_left(order: list[AnyEntity]) -> None:
    made = of(*ALL)
    for entity in order:
        made.remove(entity)
    assert vars(made) == vars(View())


def test_traffic_goes_to_hoverboards_that_live_and_to_all_if_none_does() -> None:
    view = of(hoverboard(1), hoverboard(2))
    assert view.gateways() == ["hv1", "hv2"]
    view.down = {"hv1"}
    assert view.gateways() == ["hv2"]
    view.down = {"hv1", "hv2"}
    assert view.gateways() == ["hv1", "hv2"]
    assert of().gateways() == []


def test_where_networks_and_vms_are(view: View) -> None:
    assert [view.present(on, net) for on in ("h1", "h2") for net in ("blue", "green")] == [True, True, True, False]
    assert (view.hosts_of("blue"), view.hosts_of("green"), view.hosts_of("red")) == ({"h1", "h2"}, {"h1"}, set())
    assert (view.networks_on("h1"), view.networks_on("h2")) == ({"blue", "green"}, {"blue"})
    assert view.networks_on("h9") == set()
    assert sorted(view.vms_on("h1")) == ["b1", "b3", "g1"]
    assert (view.vms_on("h2"), view.vms_on("h9")) == (["b2"], [])
    assert view.vms_of_network == {"blue": {"b1", "b2", "b3"}, "green": {"g1"}}


def test_a_vm_is_found_by_each_of_its_addresses_in_its_network(view: View) -> None:
    assert (view.vm_at(7, B1.ip), view.vm_at(7, IPv6Address("fd00:7::2")), view.vm_at(9, B1.ip)) == (B1, B1, G1)
    assert view.vm_at(8, B1.ip) is None
    assert view.vm_at(7, IPv4Address("10.0.0.99")) is None
    assert addresses(B1) == (B1.ip, B1.ip6)
    assert addresses(B2) == (B2.ip,)


def test_the_route_with_the_lowest_number_wins(view: View) -> None:
    assert (view.winner("blue", P24), view.winner("blue", P16), view.winner("green", P24)) == (B2, B1, G1)
    assert view.winner("green", P16) is None
    assert view.winner("red", P16) is None
    assert view.next_hops("blue", P24) == [B1, B2]
    assert view.next_hops("blue", IPv4Network("172.16.0.0/12")) == []
    assert of(*ALL, route("twice", "blue", "192.168.7.0/24", "b1", 7)).next_hops("blue", P24) == [B1, B2]


def test_prefixes_around_and_inside_a_prefix(view: View) -> None:
    assert list(view.shorter("blue", P25)) == [P16, P24]
    assert list(view.shorter("blue", P16)) == []
    assert list(view.shorter("green", P25)) == [P24]
    assert list(view.longer("blue", P16)) == [P24, P25]
    assert list(view.longer("blue", P24)) == [P25]
    assert list(view.longer("blue", IPv4Network("192.168.8.0/24"))) == []
    assert list(view.longer("red", P16)) == []
    zero = IPv4Network("0.0.0.0/0")
    assert list(of(*ALL, route("all", "blue", "0.0.0.0/0", "b1")).shorter("blue", P16)) == [zero]


def test_prefixes_via_a_vm_winning_or_not(view: View) -> None:
    assert view.prefixes_via("b1") == {("blue", P16), ("blue", P24)}
    assert (view.prefixes_via("g1"), view.prefixes_via("nobody")) == ({("green", P24)}, set())


def test_a_network_speaks_ipv6_when_one_of_its_ranges_does(view: View) -> None:
    assert [view.speaks_ipv6(name) for name in ("blue", "green", "red")] == [True, False, False]


def test_a_network_has_a_firewall_by_a_rule_or_a_policy() -> None:
    assert [of(*ALL).guarded(name) for name in ("blue", "green", "red")] == [True, True, False]
    assert of(PLAIN).guarded("green")
    for policy in ({}, {"ingress": "deny"}, {"egress": "deny"}):
        named = Network.model_validate({"name": "blue", "vni": 7} | policy)
        assert of(named).guarded("blue") is bool(policy)


def test_vms_by_tag_are_those_of_the_network(view: View) -> None:
    assert view.tagged("blue", ["web"]) == [B1, B2]
    assert view.tagged("blue", ["db", "web", "none"]) == [B1, B2]
    assert view.tagged("blue", ["db"]) == [B1]
    assert (view.tagged("green", ["web"]), view.tagged("green", ["db"]), view.tagged("blue", [])) == ([G1], [], [])


def test_a_rule_names_vms_by_its_targets_and_by_its_tags(view: View) -> None:
    assert [view.named_by_rules(one) for one in (B1, B2, B3, G1)] == [True, True, False, False]
    assert view.named_by_rules(tagged(B3, "none", "other"))
    assert not view.named_by_rules(tagged(B3, "none"))
    assert not of(WEB).named_by_rules(tagged(B3, "none"))
    assert not of().named_by_rules(B1)


def test_load_balancers_of_a_backend(view: View) -> None:
    assert [view.balancers_via(name) for name in ("b1", "b2", "b3")] == [{"lb"}, {"lb", "lb2"}, set()]


@pytest.mark.parametrize(
    ("vni", "address", "on", "may"),
    [
        (7, "10.0.0.100", "h1", True),  # a backend on it answers with the shared address
        (7, "10.0.0.100", "h2", True),
        (7, "10.0.0.101", "h2", True),
        (7, "10.0.0.101", "h1", False),
        (9, "10.0.0.100", "h2", False),
        (7, "10.0.0.99", "h1", False),
        (7, "192.168.9.9", "h1", True),  # a next hop on it answers with a routed address
        (7, "192.168.9.9", "h2", False),
        (7, "192.168.7.9", "h2", True),
        (9, "192.168.7.9", "h1", True),
        (9, "192.168.9.9", "h1", False),
        (999, "192.168.7.9", "h1", False),
        (7, "fd00:7::99", "h1", False),
    ],
)
def test_who_may_send_with_an_address_that_is_no_vms(view: View, vni: int, address: str, on: str, may: bool) -> None:
    wanted = IPv6Address(address) if ":" in address else IPv4Address(address)
    assert view.routed_to_host(vni, wanted, on) is may


def test_a_host_and_a_network_are_found_by_name(view: View) -> None:
    assert view.hosts == {"h1": host(1), "h2": host(2)}
    assert view.networks["blue"] == network("blue")[0]
    assert view.network_by_vni == {7: "blue", 9: "green"}
    assert view.subnetworks["blue"] == {"blue-sub": network("blue")[1], "six": SIX}
