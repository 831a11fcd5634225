"""The VM pairs that a new run pings: one for each pair of hosts, of those that may ping each other.

The second implementation of the firewall is the flows of a controller, in switches in memory.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.testing.fake_switch import ipv4_packet
from controllers.testing.world import World
from hoverboard.contract.entities import Host, Hoverboard
from topologies.run.host_pairs import MOST_HOSTS, _passes, may_ping, pairs, pinged
from topologies.spec import schema
from topologies.spec.topology import Topology, VMSpec, to_entities

_ECHO, _REPLY, _ICMP = 8, 0, 1
TAGS = ("web", "db")


def blue(vms: Any, **firewall: Any) -> dict[str, Any]:
    return {"name": "blue", "vni": 7, "subnet": "10.0.0.0/16", "vms": vms, "firewall": firewall}


def names(topology: Topology) -> list[tuple[str, str]]:
    return [(one.name, other.name) for one, other in pairs(topology)]


# --- which pairs -------------------------------------------------------------------------------------------


def test_the_rack_pings_190_times_and_no_vm_much_more_than_another() -> None:
    rack = schema.load("rack")
    found = pairs(rack)
    assert len(found) == 190
    assert {frozenset((one.host, other.host)) for one, other in found} == {
        frozenset(hosts) for hosts in combinations([host.name for host in rack.hosts], 2)
    }
    assert all(one.network == other.network and one.host != other.host for one, other in found)
    counts = Counter(vm.name for pair in found for vm in pair)
    assert max(counts.values()) <= 2 * 19 / 3, "three blue VMs on a host share its pings"


def test_hosts_without_a_common_network_are_no_pair() -> None:
    vms = [{"name": "a", "host": "h1"}, {"name": "b", "host": "h2"}]
    red = {"name": "red", "vni": 8, "subnet": "10.0.0.0/16", "vms": [{"name": "c", "host": "h3"}]}
    topology = schema.from_keys({"hosts": 3, "networks": [blue(vms), {**red}]})
    assert names(topology) == [("a", "b")]


def test_hosts_that_others_program_are_left_out() -> None:
    hosts = ["h1", "h2", {"name": "h3", "program": "external", "controller": "tcp:127.0.0.1:6653"}]
    keys = [one if isinstance(one, dict) else {"name": one} for one in hosts]
    assert names(schema.from_keys({"hosts": keys, "networks": [blue(3)]})) == [("blue-1", "blue-2")]


def test_the_pinged_vms_are_those_of_the_pairs() -> None:
    topology = schema.from_keys({"hosts": 2, "networks": [blue(6)]})
    assert pinged(topology) == {"blue-1", "blue-2"}


def test_nothing_is_asked_of_stages_models_from_a_file_and_hoverboards_with_a_capacity() -> None:
    limited = [{"name": "hv1", "capacity": {"pps": 50}}]
    assert names(schema.from_keys({"hosts": 2, "hoverboards": limited, "networks": [blue(2)]})) == []
    stages = [{"stage": "dos-detection", "config": {"packets_per_second": 9}}]
    assert names(schema.from_keys({"hosts": 2, "stages": stages, "networks": [blue(2)]})) == []
    topology = schema.from_keys({"hosts": 2, "networks": [blue(2)]})
    assert len(names(topology)) == 1
    object.__setattr__(topology, "model", "/tmp/mine.py:Mine")
    assert names(topology) == []


def test_a_pair_that_the_firewall_allows_is_found_behind_many_that_it_denies() -> None:
    vms = [{"host": "h1"} for _ in range(300)] + [{"host": "h2"} for _ in range(300)]
    vms[299]["tags"] = vms[599]["tags"] = ["open"]
    rule = {"name": "r", "direction": "ingress", "action": "allow", "targets": ["open"], "protocol": "icmp"}
    topology = schema.from_keys({"hosts": 2, "networks": [blue(vms, ingress="deny", rules=[rule])]})
    ((one, other),) = pairs(topology)
    assert "open" in other.tags
    nobody = schema.from_keys({"hosts": 2, "networks": [blue(vms, ingress="deny", egress="deny")]})
    assert pairs(nobody) == []


def test_many_hosts_ping_some_others_each() -> None:
    count = 3 * MOST_HOSTS
    found = pairs(schema.from_keys({"hosts": count, "networks": [blue(count)]}))
    hosts = Counter(vm.host for pair in found for vm in pair)
    assert set(hosts.values()) == {MOST_HOSTS}
    assert len({frozenset((one.host, other.host)) for one, other in found}) == len(found) == count * MOST_HOSTS // 2


# --- the firewall ------------------------------------------------------------------------------------------

_SOME_TAGS = st.lists(st.sampled_from(TAGS), unique=True, max_size=2)
_RULE = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["ingress", "egress"]),
        "action": st.sampled_from(["allow", "deny"]),
        "priority": st.sampled_from([5, 6]),
        "targets": _SOME_TAGS,
        "tags": _SOME_TAGS,
        "prefixes": st.lists(st.sampled_from(["10.0.0.2/32", "10.0.0.0/30", "fd00::/64"]), unique=True, max_size=2),
        "protocol": st.sampled_from(["any", "icmp", "tcp", "icmpv6"]),
    }
).filter(lambda rule: all((rule["protocol"], ":" in one) != ("icmp", True) for one in rule["prefixes"])
         and all((rule["protocol"], ":" in one) != ("icmpv6", False) for one in rule["prefixes"]))  # fmt: skip
_ACTION = st.sampled_from(["allow", "deny"])


def cluster(topology: Topology) -> World:
    """Switches in memory that a controller has programmed for the topology."""
    world = World("preprogrammed")
    world.full_update(to_entities(topology))
    for node in to_entities(topology):
        if isinstance(node, Host | Hoverboard):
            mine = [vm for vm in topology.vms if vm.host == node.name]
            world.connect(node, {f"vp-{vm.name}": 100 + number for number, vm in enumerate(mine)})
            world.hello(node.name, {vm.name: f"vp-{vm.name}" for vm in mine})
    return world


def passes(world: World, one: VMSpec, other: VMSpec, kind: int) -> bool:
    """Whether an ICMP packet arrives."""
    packet = {**ipv4_packet(one.mac, int(one.ip), int(other.ip)), "ip_proto": _ICMP, "icmpv4_type": kind}
    journey = world.net.send(one.host, world.core.view.ports[one.name], packet)
    return journey.delivered == ((other.host, world.core.view.ports[other.name]),)


@settings(max_examples=150, deadline=None)
@given(st.lists(_SOME_TAGS, min_size=2, max_size=3), _ACTION, _ACTION, st.lists(_RULE, max_size=4))
def test_what_may_ping_is_what_the_switches_let_pass(
    tags: list[list[str]], ingress: str, egress: str, rules: list[dict[str, Any]]
) -> None:
    used = {tag for some in tags for tag in some}
    named = [
        {
            **rule,
            "name": f"r{number}",
            **{key: [tag for tag in rule[key] if tag in used] for key in ("targets", "tags")},
        }
        for number, rule in enumerate(rules)
    ]
    # A file leaves an empty list out: it would read as "nobody".
    named = [{key: value for key, value in rule.items() if value != []} for rule in named]
    vms = [{"host": f"h{number + 1}", "tags": some} for number, some in enumerate(tags)]
    topology = schema.from_keys(
        {"hosts": len(tags), "networks": [blue(vms, ingress=ingress, egress=egress, rules=named)]}
    )
    world, (network,) = cluster(topology), topology.networks
    for one, other in [(vm, to) for vm in topology.vms for to in topology.vms if vm is not to]:
        arrives = passes(world, one, other, _ECHO) and passes(world, other, one, _REPLY)
        assert may_ping(network, one, other) == arrives, f"{one.name} -> {other.name}"


@pytest.mark.parametrize(("ingress", "egress", "allowed"), [
    ("allow", "allow", True), ("deny", "allow", False), ("allow", "deny", False), ("deny", "deny", False),
])  # fmt: skip
def test_without_rules_the_defaults_decide(ingress: str, egress: str, allowed: bool) -> None:
    topology = schema.from_keys({"hosts": 2, "networks": [blue(2, ingress=ingress, egress=egress)]})
    assert may_ping(topology.networks[0], *topology.vms) is allowed


@pytest.mark.parametrize(("rule", "answer", "passes"), [
    ("egress allow", False, True), ("egress allow", True, True), ("egress deny", False, False),
    ("egress deny", True, False), ("ingress allow", False, False), ("ingress allow", True, True),
    ("ingress deny", False, False), ("ingress deny", True, False),
])  # fmt: skip
def test_a_rule_of_the_other_direction_lets_answers_out_if_it_allows(rule: str, answer: bool, passes: bool) -> None:
    """Each packet on its own: for a whole ping, another rule often decides the same."""
    direction, action = rule.split()
    rules = [{"name": "r", "protocol": "icmp", "direction": direction, "action": action}]
    topology = schema.from_keys({"hosts": 2, "networks": [blue(2, ingress="deny", egress="deny", rules=rules)]})
    assert _passes(topology.networks[0], *topology.vms, "egress", answer=answer) is passes
