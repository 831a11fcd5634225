"""What one entity alone may say: names, addresses, ports, limits; and the words of each refusal."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest
from pydantic import ValidationError

from hoverboard.contract.entities import (
    ENTITY_TYPES,
    VM,
    AnyEntity,
    FirewallRule,
    Host,
    Hoverboard,
    LoadBalancer,
    Network,
    Route,
    Subnetwork,
)
from hoverboard.contract.packets import unusable

GIVEN: dict[type[AnyEntity], dict[str, Any]] = {
    Network: {"name": "n", "vni": 7},
    Subnetwork: {"name": "s", "network": "n", "prefix": "10.0.0.0/24"},
    VM: {"name": "v", "network": "n", "ip": "10.0.0.2", "mac": "06:07:0a:00:00:02", "host": "h"},
    Route: {"name": "r", "network": "n", "prefix": "192.168.0.0/16", "next_hop": "v"},
    Host: {"name": "h", "underlay_ip": "172.16.0.1"},
    Hoverboard: {"name": "hv", "underlay_ip": "172.16.255.1"},
    FirewallRule: {"name": "f", "network": "n", "direction": "ingress", "action": "deny"},
    LoadBalancer: {"name": "l", "network": "n", "ip": "10.0.0.99", "backends": ["v"]},
}


def made(kind: type[AnyEntity], **fields: Any) -> Any:
    """An entity of this type with these fields, and usual values for the others."""
    return kind.model_validate(GIVEN[kind] | fields)


def refused(kind: type[AnyEntity], **fields: Any) -> str:
    """Why an entity with these fields is refused."""
    with pytest.raises(ValidationError) as error:
        made(kind, **fields)
    return "\n".join(one["msg"].removeprefix("Value error, ") for one in error.value.errors())


def test_what_is_not_given() -> None:
    assert made(Network).model_dump() == {
        "name": "n", "vni": 7, "ingress": "allow", "egress": "allow", "rate_bps": 0,
    }  # fmt: skip
    subnetwork, vm, rule, balancer = (made(kind) for kind in (Subnetwork, VM, FirewallRule, LoadBalancer))
    assert (subnetwork.gateway, subnetwork.prefix6) == (None, None)
    assert (vm.ip6, vm.tags, vm.external_ips, vm.rate_bps) == (None, (), (), 0)
    assert made(Route).priority == 1000
    assert (rule.priority, rule.targets, rule.prefixes, rule.tags) == (1000, (), (), ())
    assert (rule.protocol, rule.ports) == ("any", ())
    assert (balancer.protocol, balancer.ports) == ("any", ())
    for kind in (Host, Hoverboard):
        assert (made(kind).dataplane, made(kind).region) == ("fastpath", None)


def test_types_are_known_by_name() -> None:
    assert {kind.__name__: kind for kind in GIVEN} == ENTITY_TYPES


@pytest.mark.parametrize("kind", GIVEN)
def test_an_entity_is_not_changed_and_has_no_other_parameters(kind: type[AnyEntity]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        made(kind).name = "other"
    assert refused(kind, colour="red") == "Extra inputs are not permitted"


@pytest.mark.parametrize("name", ["a", "A-9_.z", "7", "n" * 63])
def test_a_name(name: str) -> None:
    assert made(Network, name=name).name == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "ä", "n" * 64, "a\n"])
def test_no_name(name: str) -> None:
    assert refused(Network, name=name) == (
        f"{name!r} is not a name: letters, digits, '.', '_', '-', at most 63, letter or digit first"
    )


@pytest.mark.parametrize(
    ("kind", "field", "least", "most"),
    [
        (Network, "vni", 1, 0xFFFFFF),
        (Network, "rate_bps", 0, None),
        (VM, "rate_bps", 0, None),
        (Route, "priority", 0, 65535),
        (FirewallRule, "priority", 0, 30_000),
    ],
)
def test_numbers_have_their_limits(kind: type[AnyEntity], field: str, least: int, most: int | None) -> None:
    assert getattr(made(kind, **{field: least}), field) == least
    assert f"greater than or equal to {least}" in refused(kind, **{field: least - 1})
    if most is not None:
        assert getattr(made(kind, **{field: most}), field) == most
        assert f"less than or equal to {most}" in refused(kind, **{field: most + 1})


PREFIXES = [f"10.0.{number}.0/24" for number in range(65)]


@pytest.mark.parametrize(
    ("kind", "field", "most", "items", "more"),
    [
        (VM, "tags", 32, [f"t{number}" for number in range(33)], {}),
        (VM, "external_ips", 32, [f"198.51.100.{number}" for number in range(33)], {}),
        (FirewallRule, "targets", 32, [f"t{number}" for number in range(33)], {}),
        (FirewallRule, "tags", 32, [f"t{number}" for number in range(33)], {}),
        (FirewallRule, "prefixes", 64, PREFIXES, {}),
        (FirewallRule, "ports", 16, [2 * number for number in range(17)], {"protocol": "tcp"}),
        (LoadBalancer, "ports", 16, [2 * number for number in range(17)], {"protocol": "tcp"}),
        (LoadBalancer, "backends", 256, [f"v{number}" for number in range(257)], {}),
    ],
)
def test_lists_have_their_limits(
    kind: type[AnyEntity], field: str, most: int, items: list[Any], more: dict[str, Any]
) -> None:
    assert len(getattr(made(kind, **{field: items[:most]}, **more), field)) == most
    assert f"at most {most} items" in refused(kind, **{field: items[: most + 1]}, **more)


def test_a_mac_is_lowered_and_unicast() -> None:
    assert made(VM, mac="0A:BC:0a:00:00:02").mac == "0a:bc:0a:00:00:02"
    assert made(VM, mac="12:07:0a:00:00:02").mac == "12:07:0a:00:00:02"
    for text in ("01:00:5e:00:00:01", "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff"):
        assert refused(VM, mac=text) == f"{text!r} is a multicast MAC; a NIC needs a unicast one"
    for text in ("06:07:0a:00:00", "06:07:0a:00:00:02:03", "06-07-0a-00-00-02", "06:07:0a:00:00:0g", ""):
        assert refused(VM, mac=text) == f"{text!r} is not a MAC address like 02:00:00:00:00:01"


def test_a_subnetwork_has_room_for_a_gateway_and_a_vm() -> None:
    assert str(made(Subnetwork, prefix="10.0.0.0/30").prefix) == "10.0.0.0/30"
    assert refused(Subnetwork, prefix="10.0.0.0/31") == (
        "prefix 10.0.0.0/31 has no room for a gateway and a VM; use /30 or shorter"
    )


def test_the_gateway_is_the_first_address_unless_given() -> None:
    assert made(Subnetwork).gateway_address == IPv4Address("10.0.0.1")
    assert made(Subnetwork, gateway="10.0.0.254").gateway_address == IPv4Address("10.0.0.254")
    assert refused(Subnetwork, gateway="10.0.1.1") == "gateway 10.0.1.1 is outside 10.0.0.0/24"


def test_an_ipv6_range_has_room_for_vms() -> None:
    assert made(Subnetwork, prefix6="fd00:7::/126").prefix6 == IPv6Network("fd00:7::/126")
    assert refused(Subnetwork, prefix6="fd00:7::/127") == (
        "prefix fd00:7::/127 has no room for VMs; use /126 or shorter, such as /64"
    )


@pytest.mark.parametrize(
    ("address", "of_its_own"),
    [
        ("::1", "::/64 (unspecified, loopback and IPv4-mapped)"), ("fe80::9", "fe80::/10 (link-local)"),
        ("febf:ffff::1", "fe80::/10 (link-local)"), ("ff02::1", "ff00::/8 (multicast)"),
    ],
)  # fmt: skip
def test_ipv6_addresses_that_no_vm_has(address: str, of_its_own: str) -> None:
    says = f"{address} reaches into {of_its_own}, which is not for VMs"
    assert unusable(IPv6Address(address)) == says
    assert refused(VM, ip6=address) == says


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Subnetwork, "prefix", "255.255.255.0/24"), (Subnetwork, "prefix", "0.0.0.0/0"), (VM, "ip", "224.0.0.1"),
        (VM, "external_ips", ["127.0.0.1"]), (LoadBalancer, "ip", "169.254.169.254"), (Route, "prefix", "224.0.0.0/4"),
        (Host, "underlay_ip", "0.0.0.0"), (Hoverboard, "underlay_ip", "255.255.255.255"),
    ],
)  # fmt: skip
def test_no_entity_has_an_address_that_no_vm_can_have(kind: type[AnyEntity], field: str, value: object) -> None:
    says = refused(kind, **{field: value})
    assert "which is not for VMs" in says or "has no address that a packet can be routed to" in says


@pytest.mark.parametrize("address", ["0:0:0:1::", "fd00:7::2", "fec0::1", "feff:ffff::", "2001:db8::1"])
def test_ipv6_addresses_that_a_vm_may_have(address: str) -> None:
    assert unusable(IPv6Address(address)) is None
    assert made(VM, ip6=address).ip6 == IPv6Address(address)


@pytest.mark.parametrize("prefix", ["::/0", "::/48", "fe00::/8", "fe80::/64", "ff02::/64"])
def test_an_ipv6_range_reaches_into_no_other_use(prefix: str) -> None:
    assert "which is not for VMs" in refused(Subnetwork, prefix6=prefix)


@pytest.mark.parametrize(
    ("given", "ranges"),
    [
        ([80], ((80, 80),)),
        (["80"], ((80, 80),)),
        ([" 8000-8099 "], ((8000, 8099),)),
        ([(1, 5)], ((1, 5),)),
        ([[0, 65535]], ((0, 65535),)),
        (["443", "80", "22"], ((22, 22), (80, 80), (443, 443))),
        (["80-90", "85-100"], ((80, 100),)),
        (["80-90", "91-100"], ((80, 100),)),
        (["80-90", "92-100"], ((80, 90), (92, 100))),
        (["80-90", "82-85"], ((80, 90),)),
        (["80", "80"], ((80, 80),)),
    ],
)
def test_ports_are_put_in_order_and_each_is_in_one_range(given: list[Any], ranges: tuple[Any, ...]) -> None:
    assert made(FirewallRule, protocol="tcp", ports=given).ports == ranges
    assert made(LoadBalancer, protocol="udp", ports=given).ports == ranges


@pytest.mark.parametrize(
    ("port", "says"),
    [
        ("http", "'http' is not a port, nor a range like 8000-8099"),
        ("80-", "'80-' is not a port, nor a range like 8000-8099"),
        ("80-90-100", "'80-90-100' is not a port, nor a range like 8000-8099"),
        (-1, "'-1' is not a port, nor a range like 8000-8099"),
        ("123456", "'123456' is not a port, nor a range like 8000-8099"),
        ("90-80", "90-80 is not a range of ports: 0 to 65535, the lower one first"),
        (65536, "65536-65536 is not a range of ports: 0 to 65535, the lower one first"),
        ("65535-65536", "65535-65536 is not a range of ports: 0 to 65535, the lower one first"),
        ((-1, 5), "-1-5 is not a range of ports: 0 to 65535, the lower one first"),
        (True, "Input should be a valid tuple"),
        (1.5, "Input should be a valid tuple"),
        ((1, 2, 3), "Tuple should have at most 2 items after validation, not 3"),
        (("x", "y"), "Input should be a valid integer, unable to parse string as an integer\n" * 2),
        ((1, "y"), "Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_no_ports(port: Any, says: str) -> None:
    assert refused(FirewallRule, protocol="tcp", ports=[port]) == says.rstrip("\n")


@pytest.mark.parametrize("protocol", ["any", "icmp", "icmpv6"])
def test_a_rule_has_ports_with_tcp_and_udp_only(protocol: str) -> None:
    assert refused(FirewallRule, protocol=protocol, ports=[80]) == (
        f"ports mean nothing with protocol {protocol!r}; give tcp or udp"
    )
    assert made(FirewallRule, protocol=protocol).ports == ()


@pytest.mark.parametrize(
    ("protocol", "prefix", "family"), [("icmp", "fd00:7::/64", 4), ("icmpv6", "10.0.0.0/24", 6)]
)  # fmt: skip
def test_a_rule_for_icmp_has_prefixes_of_its_family(protocol: str, prefix: str, family: int) -> None:
    assert refused(FirewallRule, protocol=protocol, prefixes=[prefix]) == (
        f"{prefix} is not an IPv{family} prefix, and {protocol} has no other"
    )


def test_a_rule_may_have_prefixes_of_both_families() -> None:
    for protocol, prefixes in {
        "any": ["10.0.0.0/24", "fd00:7::/64"], "tcp": ["fd00:7::/64", "10.0.0.0/24"], "icmp": ["10.0.0.0/24"],
        "icmpv6": ["fd00:7::/64"],
    }.items():  # fmt: skip
        assert list(map(str, made(FirewallRule, protocol=protocol, prefixes=prefixes).prefixes)) == prefixes


def test_a_load_balancer_has_each_backend_once_and_ports_of_a_protocol() -> None:
    assert made(LoadBalancer, backends=["b", "a"]).backends == ("b", "a")
    assert refused(LoadBalancer, backends=["c", "b", "a", "c", "b"]) == "backend 'b' is given twice"
    assert "at least 1 item" in refused(LoadBalancer, backends=[])
    assert refused(LoadBalancer, ports=[80]) == "ports mean nothing with protocol 'any'; give tcp or udp"
