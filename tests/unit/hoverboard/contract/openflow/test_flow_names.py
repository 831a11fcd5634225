"""Words for flows and drops: every kind has some, and a firewall rule is named by its entity."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.openflow import tables
from hoverboard.contract.openflow.flow_names import NO_NAMES, FlowNames, cause, dropped, purpose, rule_number
from hoverboard.contract.openflow.policy import firewall_policy_flows, firewall_rule_flows
from hoverboard.contract.openflow.shares import global_flow
from hoverboard.contract.openflow.tables import Kind, cookie, drop_reason, kind_of, rule_of, vni_of

NAMES = FlowNames({7: "blue", 8: "green"}, [(7, "http"), (8, "http"), (8, "ssh")])
HTTP = cookie(Kind.DROP_FIREWALL_INGRESS, 7, rule_number("http"))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_words(kind: Kind) -> None:
    assert purpose(cookie(kind, 7), NAMES)
    assert bool(cause(cookie(kind, 7), NAMES)) == (drop_reason(kind) is not None)


@given(st.sampled_from(Kind), st.integers(0, 2**24 - 1), st.integers(0, tables.MAX_RULE_NUMBER))
def test_a_cookie_keeps_its_parts(kind: Kind, vni: int, rule: int) -> None:
    made = cookie(kind, vni, rule)
    assert (kind_of(made), vni_of(made), rule_of(made)) == (kind, vni, rule)
    assert made < 1 << 64
    assert made & 1 == 0, "the last bit says whose share it is"


@given(st.text(min_size=1, max_size=63))
def test_a_number_depends_on_the_name_alone_and_is_never_that_of_no_rule(name: str) -> None:
    assert 1 <= rule_number(name) == rule_number(name) <= tables.MAX_RULE_NUMBER


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (HTTP, "denied by rule http of blue"),
        (cookie(Kind.DROP_FIREWALL_EGRESS, 8, rule_number("ssh")), "denied by rule ssh of green"),
        (cookie(Kind.DROP_FIREWALL_INGRESS, 7), "denied by the ingress policy of blue"),
        (cookie(Kind.DROP_FIREWALL_EGRESS, 9), "denied by the egress policy of VNI 9"),
        (cookie(Kind.DROP_FIREWALL_INGRESS, 7, 1), "denied by a rule of blue that is not known (any more)"),
        (cookie(Kind.DROP_NO_ROUTE), "no route to the destination"),
        (cookie(Kind.FIREWALL, 7, rule_number("http")), ""),
        (0, ""),
    ],
)  # fmt: skip
def test_the_cause_of_a_drop(made: int, words: str) -> None:
    assert cause(made, NAMES) == words


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (HTTP, "denied by rule http of blue"),
        (cookie(Kind.FIREWALL, 8, rule_number("ssh")), "allowed by rule ssh of green"),
        (cookie(Kind.FIREWALL, 7), "allowed by the firewall of blue"),
        (cookie(Kind.OFFLOAD, 7), "offload of a VM pair (blue)"),
        (cookie(Kind.RELAY, 7) | 1, "relay to the VM's host (blue); from a global control plane"),
        (cookie(Kind.DROP_SPOOFED, 7), "drop: the source MAC or address is not the VM's own (blue)"),
        (cookie(Kind.PLUMBING), "goes on to the next table"),
        (0x7, "not a flow of the pipeline"),
    ],
)
def test_the_purpose_of_a_flow(made: int, words: str) -> None:
    assert purpose(made, NAMES) == words


@pytest.mark.parametrize(
    ("reason", "made", "words"),
    [
        ("firewall-ingress", HTTP, "firewall-ingress (denied by rule http of blue)"),
        ("no-route", cookie(Kind.DROP_NO_ROUTE), "no-route (no route to the destination)"),
        ("vm-queue-full", 0, "vm-queue-full"),
        ("vport-down", HTTP, "vport-down"),  # the entry is another one by now: its flow did not decide this
        ("uncacheable", cookie(Kind.LOCAL, 7), "uncacheable"),
    ],
)
def test_a_drop_in_words(reason: str, made: int, words: str) -> None:
    assert dropped(reason, made, NAMES) == words


def test_two_names_of_one_number_are_both_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hoverboard.contract.openflow.flow_names.rule_number", lambda _name: 5)
    names = FlowNames({7: "blue"}, [(7, "web"), (7, "db"), (8, "other")])
    assert cause(cookie(Kind.DROP_FIREWALL_EGRESS, 7, 5), names) == "denied by rule db or web of blue"


def test_names_go_through_json() -> None:
    read = FlowNames.read(json.loads(json.dumps(NAMES.document())))
    assert read.document() == NAMES.document() == {
        "networks": {"7": "blue", "8": "green"}, "rules": {"7": ["http"], "8": ["http", "ssh"]}
    }  # fmt: skip
    assert cause(HTTP, read) == cause(HTTP, NAMES)
    assert FlowNames.read(NO_NAMES.document()).document() == NO_NAMES.document()


def test_every_flow_of_a_rule_names_it_and_those_of_the_policy_none() -> None:
    flows = list(
        firewall_rule_flows(
            "http",
            7,
            "ingress",
            "allow",
            1000,
            targets=None,
            prefixes=None,
            protocol="tcp",
            ports=[(80, 81)],
            ipv6=True,
        )
    )
    assert {flow.table for flow in flows} == {tables.Table.INGRESS, tables.Table.EGRESS}
    assert {purpose(flow.cookie, NAMES) for flow in flows} == {"allowed by rule http of blue"}
    assert {rule_of(global_flow(flow).cookie) for flow in flows} == {rule_number("http")}
    assert {rule_of(flow.cookie) for flow in firewall_policy_flows(7, "deny", "deny", [], ipv6=True)} == {0}
