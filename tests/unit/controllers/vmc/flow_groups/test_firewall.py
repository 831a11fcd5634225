"""A network's firewall by plain examples, under every model, in both directions, for IPv4 and IPv6.

One VM is on the host of another, one elsewhere; a rule by tag or prefix is about one of the two.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from controllers.testing.world import World, place, ready, vm
from controllers.vmc.models import MODELS as ALL_MODELS
from hoverboard.contract.entities import VM, FirewallRule, Network, Subnetwork
from hoverboard.contract.openflow.pipeline import Table
from tests.unit.controllers.policy_oracle import Talk

MODELS = sorted(ALL_MODELS)
SSH, HTTP, DNS = Talk("tcp", 40000, 22), Talk("tcp", 40000, 80), Talk("udp", 40000, 53)
IN, OUT = ("firewall-ingress",), ("firewall-egress",)


def dual(name: str, net: str, on: str, last: int, *tags: str) -> VM:
    """A VM with an address of both families."""
    return vm(name, net, on, last).model_copy(update={"ip6": IPv6Address(f"fd00:7::{last:x}"), "tags": tags})


SERVER, DATABASE, CLIENT = dual("s", "blue", "h1", 9), dual("d", "blue", "h1", 2, "db"), dual("c", "blue", "h2", 5)
# Both are about DATABASE, and neither is about CLIENT or SERVER.
OTHER_ENDS: dict[str, dict[str, Any]] = {
    "tag": {"tags": ["db"]},
    "prefix": {"prefixes": ["10.0.0.0/30", "fd00:7::/126"]},
}


def subnetwork(net: str, prefix6: str | None) -> Subnetwork:
    range6 = IPv6Network(prefix6) if prefix6 is not None else None
    return Subnetwork(name=f"{net}-sub", network=net, prefix=IPv4Network("10.0.0.0/24"), prefix6=range6)


class Blue:
    """The network blue with its three VMs; each packet is sent in every family that blue has."""

    def __init__(self, model: str = "hoverboard", ipv6: bool = False) -> None:
        self.world: World = ready(model)
        self.vms = [SERVER, DATABASE, CLIENT]
        self.versions = (4, 6) if ipv6 else (4,)
        if ipv6:
            self.world.diff([subnetwork("blue", "fd00:7::/64")])
        else:
            self.vms = [one.model_copy(update={"ip6": None}) for one in self.vms]
        place(self.world, *self.vms)

    def policy(self, *rules: FirewallRule, **actions: str) -> None:
        """Replaces the rules, and the actions for packets that no rule is about."""
        gone = [key for key in self.world.fabric.entities if key[0] == "FirewallRule"]
        self.world.diff(remove=gone)
        self.world.diff([Network.model_validate({"name": "blue", "vni": 7} | actions), *rules])

    def says(self, src: VM, dst: VM, talk: Talk = HTTP, version: int | None = None) -> tuple[str, ...]:
        """Why a packet is dropped, the same in all families or in one; empty if it arrives at its VM."""
        found = set()
        for one in self.versions if version is None else (version,):
            address = dst.ip if one == 4 else dst.ip6
            assert address is not None
            journey = self.world.speak(src, address, talk)
            if not journey.dropped:
                assert journey.delivered == ((dst.host, self.world.core.view.ports[dst.name]),)
            found.add(journey.dropped)
        (dropped,) = found
        return dropped


def rule(name: str, direction: str, action: str, **more: Any) -> FirewallRule:
    given: dict[str, Any] = {"name": name, "network": "blue", "direction": direction, "action": action}
    return FirewallRule.model_validate(given | more)


@pytest.fixture(params=[False, True], ids=["IPv4", "IPv6 too"])
def ipv6(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end", OTHER_ENDS)
def test_a_rule_by_the_other_end_denies_only_that(model: str, ipv6: bool, end: str) -> None:
    blue = Blue(model, ipv6)
    assert blue.says(DATABASE, SERVER) == blue.says(CLIENT, SERVER) == blue.says(SERVER, DATABASE) == ()
    blue.policy(rule("r", "ingress", "deny", **OTHER_ENDS[end]))
    assert blue.says(DATABASE, SERVER) == blue.says(DATABASE, CLIENT) == IN
    assert blue.says(CLIENT, SERVER) == blue.says(SERVER, DATABASE) == ()
    blue.policy(rule("r", "egress", "deny", **OTHER_ENDS[end]))
    assert blue.says(SERVER, DATABASE) == blue.says(CLIENT, DATABASE) == OUT
    assert blue.says(SERVER, CLIENT) == blue.says(DATABASE, SERVER) == ()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end", OTHER_ENDS)
def test_a_rule_by_the_other_end_allows_only_that(model: str, ipv6: bool, end: str) -> None:
    blue = Blue(model, ipv6)
    blue.policy(rule("r", "ingress", "allow", **OTHER_ENDS[end]), ingress="deny")
    assert blue.says(DATABASE, SERVER) == blue.says(DATABASE, CLIENT) == ()
    assert blue.says(CLIENT, SERVER) == blue.says(SERVER, DATABASE) == IN
    blue.policy(rule("r", "egress", "allow", **OTHER_ENDS[end]), egress="deny")
    assert blue.says(SERVER, DATABASE) == blue.says(CLIENT, DATABASE) == ()
    assert blue.says(SERVER, CLIENT) == blue.says(DATABASE, SERVER) == OUT


@pytest.mark.parametrize("model", MODELS)
def test_a_rule_by_target_is_about_those_vms_only(model: str, ipv6: bool) -> None:
    blue = Blue(model, ipv6)
    blue.policy(rule("r", "ingress", "deny", targets=["db"]))
    assert blue.says(SERVER, DATABASE) == blue.says(CLIENT, DATABASE) == IN
    assert blue.says(DATABASE, SERVER) == blue.says(SERVER, CLIENT) == ()
    blue.policy(rule("r", "egress", "deny", targets=["db"]))
    assert blue.says(DATABASE, SERVER) == blue.says(DATABASE, CLIENT) == OUT
    assert blue.says(SERVER, DATABASE) == blue.says(CLIENT, SERVER) == ()


def test_a_rule_has_protocol_and_ports(ipv6: bool) -> None:
    blue = Blue(ipv6=ipv6)
    blue.policy(rule("r", "ingress", "deny", protocol="tcp", ports=["20-23"]))
    assert (blue.says(CLIENT, SERVER, SSH), blue.says(CLIENT, SERVER, HTTP), blue.says(CLIENT, SERVER, DNS)) == (
        IN, (), (),
    )  # fmt: skip
    blue.policy(rule("r", "egress", "deny", protocol="udp"))
    assert (blue.says(CLIENT, SERVER, SSH), blue.says(CLIENT, SERVER, DNS)) == ((), OUT)


def test_what_answers_an_allowed_packet_passes_the_other_way_where_both_are_denied(ipv6: bool) -> None:
    blue = Blue(ipv6=ipv6)
    service: dict[str, Any] = {"protocol": "tcp", "ports": [80]}
    blue.policy(
        rule("out", "egress", "allow", tags=["db"], **service),
        rule("in", "ingress", "allow", targets=["db"], **service),
        ingress="deny", egress="deny",
    )  # fmt: skip
    assert blue.says(CLIENT, DATABASE, HTTP) == ()
    assert blue.says(DATABASE, CLIENT, Talk("tcp", 80, 40000)) == ()
    for talk in (SSH, Talk("udp", 40000, 80), Talk("tcp", 80, 40000)):
        assert blue.says(CLIENT, DATABASE, talk) == OUT
    for talk in (HTTP, Talk("tcp", 22, 40000), Talk("udp", 80, 40000), Talk("tcp", 80, 32767)):
        assert blue.says(DATABASE, CLIENT, talk) == OUT
    assert blue.says(SERVER, CLIENT, HTTP) == OUT


@pytest.mark.parametrize(("denied", "dropped"), [("ingress", IN), ("egress", OUT)])
def test_where_one_direction_is_denied_answers_pass(ipv6: bool, denied: str, dropped: tuple[str, ...]) -> None:
    blue = Blue(ipv6=ipv6)
    blue.policy(**{denied: "deny"})
    for protocol in ("tcp", "udp"):
        assert blue.says(CLIENT, SERVER, Talk(protocol, 32767, 32768)) == ()
        assert blue.says(CLIENT, SERVER, Talk(protocol, 32768, 32768)) == dropped
        assert blue.says(CLIENT, SERVER, Talk(protocol, 32767, 32767)) == dropped
    for version, protocol, answers in ((4, "icmp", (0, 3, 11, 12)), (6, "icmpv6", (1, 2, 3, 4, 129))):
        if version in blue.versions:
            passed = (kind for kind in range(0, 132) if not blue.says(CLIENT, SERVER, Talk(protocol, kind), version))
            assert tuple(passed) == answers
    assert blue.says(CLIENT, SERVER, Talk()) == dropped


PINGS = {4: (Talk("icmp", 8), Talk("icmp", 0)), 6: (Talk("icmpv6", 128), Talk("icmpv6", 129))}


@pytest.mark.parametrize(("version", "protocol"), [(4, "icmp"), (6, "icmpv6")])
def test_a_rule_for_icmp_is_about_its_family_only(version: int, protocol: str) -> None:
    blue = Blue(ipv6=True)
    blue.policy(rule("r", "ingress", "deny", protocol=protocol))
    for spoken, (ping, _) in PINGS.items():
        assert blue.says(CLIENT, SERVER, ping, spoken) == (IN if spoken == version else ())
    assert blue.says(CLIENT, SERVER, HTTP) == ()
    # What is allowed is answered: egress lets the answer out, and nothing that asks.
    blue.policy(
        rule("in", "ingress", "allow", protocol=protocol, targets=["db"]), rule("to", "ingress", "allow", tags=["db"]),
        ingress="deny", egress="deny",
    )  # fmt: skip
    for spoken, (ping, pong) in PINGS.items():
        assert blue.says(DATABASE, CLIENT, ping, spoken) == OUT
        assert blue.says(DATABASE, CLIENT, pong, spoken) == (() if spoken == version else OUT)


def test_a_prefix_is_about_its_own_family_only() -> None:
    for version, prefix in {6: "fd00:7::/64", 4: "10.0.0.0/24"}.items():
        blue = Blue(ipv6=True)
        blue.policy(rule("r", "ingress", "deny", prefixes=[prefix]))
        for spoken in (4, 6):
            assert blue.says(CLIENT, SERVER, HTTP, spoken) == (IN if spoken == version else ())
    blue = Blue()
    blue.policy(rule("r", "ingress", "deny", prefixes=["fd00:7::/64"]))
    assert blue.says(CLIENT, SERVER) == ()


def test_a_prefix_and_a_tag_are_about_either(ipv6: bool) -> None:
    blue = Blue(ipv6=ipv6)
    blue.policy(rule("r", "ingress", "deny", prefixes=["10.0.0.5/32", "fd00:7::5/128"], tags=["db"]))
    assert blue.says(CLIENT, SERVER) == blue.says(DATABASE, SERVER) == IN
    assert blue.says(SERVER, CLIENT) == ()


def test_a_tag_that_no_vm_has_means_no_vm(ipv6: bool) -> None:
    blue = Blue(ipv6=ipv6)
    for more in ({"tags": ["none"]}, {"targets": ["none"]}):
        for direction in ("ingress", "egress"):
            blue.policy(rule("r", direction, "deny", **more))
            assert blue.says(CLIENT, SERVER) == blue.says(DATABASE, SERVER) == ()


def test_a_tag_means_vms_of_the_rules_network_only(ipv6: bool) -> None:
    blue = Blue(ipv6=ipv6)
    # In another network, at the client's address.
    namesake = dual("g", "green", "h1", 5, "db")
    if ipv6:
        blue.world.diff([subnetwork("green", "fd00:7::/64")])
    else:
        namesake = namesake.model_copy(update={"ip6": None})
    place(blue.world, namesake)
    blue.policy(rule("r", "ingress", "deny", tags=["db"]))
    assert blue.says(CLIENT, SERVER) == ()
    assert blue.says(DATABASE, SERVER) == IN


@pytest.mark.parametrize("model", MODELS)
def test_a_tag_may_come_later_and_go(model: str, ipv6: bool) -> None:
    blue = Blue(model, ipv6)
    blue.policy(rule("r", "ingress", "deny", tags=["bad"]))
    assert blue.says(CLIENT, SERVER) == ()
    client = blue.vms[2]
    blue.world.diff([client.model_copy(update={"tags": ("bad",)})])
    assert blue.says(CLIENT, SERVER) == IN
    blue.world.diff([client])
    assert blue.says(CLIENT, SERVER) == ()


def test_the_lowest_priority_number_decides_and_then_a_denial(ipv6: bool) -> None:
    blue = Blue(ipv6=ipv6)
    first, second = rule("a", "ingress", "allow", priority=7), rule("b", "ingress", "deny", priority=8)
    for rules, dropped in (
        ((first, second), ()),
        ((first.model_copy(update={"priority": 9}), second), IN),
        ((first.model_copy(update={"priority": 8}), second), IN),
        ((rule("a", "ingress", "allow", priority=0), rule("b", "ingress", "deny", priority=1)), ()),
        ((rule("a", "ingress", "allow", priority=29_999), rule("b", "ingress", "deny", priority=30_000)), ()),
    ):
        blue.policy(*rules)
        assert blue.says(CLIENT, SERVER) == dropped
    blue.policy(rule("a", "ingress", "allow", priority=30_000), ingress="deny")
    assert blue.says(CLIENT, SERVER) == ()


@pytest.mark.parametrize("model", MODELS)
def test_every_gateway_of_the_network_is_reached_whatever_is_denied(model: str) -> None:
    blue = Blue(model)
    blue.world.diff([Subnetwork(name="more", network="blue", prefix=IPv4Network("10.0.1.0/24"))])
    blue.policy(rule("all", "egress", "deny", priority=0), egress="deny", ingress="deny")
    port = blue.world.core.view.ports["c"]
    for text in ("10.0.0.1", "10.0.1.1"):
        (gateway,) = IPv4Network(f"{text}/32").hosts()
        assert blue.world.speak(CLIENT, gateway, Talk("icmp", 8)).delivered == (("h2", port),)
    assert blue.says(CLIENT, SERVER) == OUT


@pytest.mark.parametrize("model", MODELS)
def test_a_host_has_a_networks_firewall_while_it_has_a_vm_of_it(model: str) -> None:
    blue = Blue(model)
    blue.policy(ingress="deny")
    tables = (Table.EGRESS, Table.INGRESS, Table.VPORT)
    for before, after in ((True, False), (False, True)):
        assert any(key[0] in tables for key in blue.world.tables()["h2"]) is before
        if after:
            place(blue.world, blue.vms[2])
        else:
            blue.world.diff(remove=[("VM", "c")])
        assert any(key[0] in tables for key in blue.world.tables()["h2"]) is after
    assert blue.says(SERVER, CLIENT) == IN
