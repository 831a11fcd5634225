"""Which stages a flow gets: one table."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.stage_policy import FlowFacts, StagePolicy, StageSpec

PEER = IPv4Address("172.16.0.2")


def facts(**more):
    known = {
        "vm": "web-1", "network": "blue", "direction": "egress", "remote": IPv4Address("10.0.0.9"), "peer": PEER,
        "region": "us", "peer_region": "us",
    }  # fmt: skip
    return FlowFacts(**(known | more))


INTERNET, SIX = IPv4Address("203.0.113.1"), IPv6Address("2001:db8::1")
CASES = [
    # description, when, facts, whether the stage is in the chain
    ("no condition", {}, {}, True),
    ("any", {"to": "any"}, {"peer": None}, True),
    ("another host", {"to": "other-host"}, {}, True),
    ("the same host", {"to": "other-host"}, {"peer": None}, False),
    ("the same region", {"to": "other-region"}, {}, False),
    ("another region", {"to": "other-region"}, {"peer_region": "eu"}, True),
    ("a region and none", {"to": "other-region"}, {"peer_region": None}, True),
    ("no regions at all", {"to": "other-region"}, {"region": None, "peer_region": None}, True),
    ("another region, same host", {"to": "other-region"}, {"peer": None, "peer_region": None}, False),
    ("inside is not the Internet", {"to": "internet"}, {}, False),
    ("the Internet", {"to": "internet"}, {"remote": INTERNET}, True),
    ("the Internet, IPv6", {"to": "internet"}, {"remote": SIX}, True),
    ("unique local is not", {"to": "internet"}, {"remote": IPv6Address("fd00::1")}, False),
    ("a prefix", {"to": "10.0.0.0/24"}, {}, True),
    ("another prefix", {"to": "10.0.1.0/24"}, {}, False),
    ("a prefix of the other version", {"to": "::/0"}, {}, False),
    ("its VM", {"vms": ["db-1", "web-1"]}, {}, True),
    ("another VM", {"vms": ["db-1"]}, {}, False),
    ("its network", {"networks": ["blue"]}, {}, True),
    ("another network", {"networks": ["red"]}, {}, False),
    ("egress", {"direction": "egress"}, {}, True),
    ("ingress", {"direction": "ingress"}, {}, False),
    ("all of it", {"to": "other-host", "vms": ["web-1"], "networks": ["blue"], "direction": "egress"}, {}, True),
    ("all but one", {"to": "other-host", "vms": ["web-1"], "networks": ["red"], "direction": "egress"}, {}, False),
]


@pytest.mark.parametrize(("what", "when", "known", "chosen"), CASES, ids=[row[0] for row in CASES])
def test_when(what, when, known, chosen):
    policy = StagePolicy.read([{"stage": "s", "when": when}])
    assert policy.chain(facts(**known)) == ((StageSpec("s", "{}"),) if chosen else ())


RULES = [
    {"stage": "internet-acl", "config": {"b": 1, "a": [1, 2]}, "when": {"direction": "egress"}},
    {"stage": "wan-shaping"},
    {"stage": "wan-encryption"},
    {"stage": "wan-shaping"},
]


def test_the_way_in_is_the_way_out_reversed():
    policy = StagePolicy.read(RULES)
    assert [spec.stage for spec in policy.chain(facts())] == ["internet-acl", "wan-shaping", "wan-encryption"]
    assert [spec.stage for spec in policy.chain(facts(direction="ingress"))] == ["wan-shaping", "wan-encryption"]
    assert [spec.stage for spec in policy.stages] == ["internet-acl", "wan-shaping", "wan-encryption"]


def test_equal_configurations_are_one_stage():
    other = StagePolicy.read([{"stage": "internet-acl", "config": {"a": [1, 2], "b": 1}}])
    assert other.stages[0] == StagePolicy.read(RULES).stages[0]
    assert other.stages[0].settings == {"a": [1, 2], "b": 1}


@pytest.mark.parametrize(
    ("rule", "where", "message"),
    [
        ({}, "coprocessors[1].stage", "Field required"),
        ({"stage": "s", "whem": {}}, "coprocessors[1].whem", "no such key"),
        ({"stage": "s", "when": {"to": "mars"}}, "coprocessors[1].when.to", "neither a prefix"),
        ({"stage": "s", "when": {"direction": "up"}}, "coprocessors[1].when.direction", "egress"),
        ({"stage": "s", "when": {"vms": "web-1"}}, "coprocessors[1].when.vms", "tuple"),
    ],
)
def test_a_wrong_rule_is_named(rule, where, message):
    with pytest.raises(InputError, match=message) as caught:
        StagePolicy.read([{"stage": "fine"}, rule])
    assert caught.value.where == where
