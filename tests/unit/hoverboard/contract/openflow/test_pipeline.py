"""The pipeline is data, and illegal data dies at once."""

from __future__ import annotations

import runpy
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from hoverboard.contract.openflow import pipeline, tables
from hoverboard.contract.openflow.flow import FIELDS, Goto, Match, Move, SetField
from hoverboard.contract.openflow.pipeline import PIPELINE, Kind, PipelineError, Table, TableSpec

BLUE = IPv4Address("10.0.0.2")
HOST = IPv4Address("172.16.0.1")


def all_flows():
    flows = pipeline.base_flows()
    for hoverboard in (False, True):
        flows += pipeline.network_flows(7, hoverboard=hoverboard)
    flows += pipeline.gateway_flows(7, IPv4Address("10.0.0.1"))
    flows += pipeline.vport_flows(7, 100, BLUE, "06:07:0a:00:00:02")
    flows += [
        pipeline.route_flow(7, BLUE, HOST),
        pipeline.offload_flow(7, BLUE, IPv4Address("10.0.0.3"), HOST),
        pipeline.default_flow(7, HOST),
        pipeline.relay_flow(7, BLUE, HOST),
    ]
    for prefix in map(IPv4Network, ("0.0.0.0/0", "192.168.0.0/16", "192.168.7.7/32")):
        flows += pipeline.source_prefix_flows(7, 100, "06:07:0a:00:00:02", prefix)
        for port in (100, None):
            flows += pipeline.local_prefix_flows(7, prefix, port, "06:07:0a:00:00:02")
        flows += [pipeline.route_prefix_flow(7, prefix, HOST), pipeline.relay_prefix_flow(7, prefix, HOST)]
    return flows


def test_every_flow_made_is_legal_and_its_match_sorted():
    for flow in all_flows():
        assert pipeline.check_flow(flow) is flow
        assert list(flow.match) == sorted(flow.match)
        assert pipeline.kind_of(flow.cookie) is not None


def test_every_drop_is_named_and_every_named_drop_drops():
    for flow in all_flows():
        kind = pipeline.kind_of(flow.cookie)
        assert (pipeline.drop_reason(kind) is not None) == (flow.actions == ())


def test_cookie_carries_kind_and_network():
    value = pipeline.cookie(Kind.OFFLOAD, 0xABCDEF)
    assert pipeline.kind_of(value) is Kind.OFFLOAD
    assert pipeline.vni_of(value) == 0xABCDEF
    assert pipeline.kind_of(0) is None


def test_a_flow_is_named_by_its_table_priority_and_match():
    flow = pipeline.default_flow(7, HOST)
    assert flow.key == (30, 10, (Match("eth_type", 0x0800), Match("metadata", 7)))


def test_a_drop_is_named_by_its_kind():
    assert pipeline.drop_reason(Kind.DROP_UNKNOWN_PORT) == "unknown-port"
    assert pipeline.drop_reason(Kind.DROP_FIREWALL_INGRESS) == "firewall-ingress"
    assert pipeline.drop_reason(Kind.BALANCE) is None


def test_a_flow_matches_a_value_a_mask_or_a_prefix():
    def match(**fields):
        return tables.make_flow(Table.ROUTE, 5, Kind.LOCAL, 7, fields).match

    assert match(metadata=7, ipv4_dst=9) == (Match("ipv4_dst", 9), Match("metadata", 7))
    assert match(tcp_src=(8, 0xFFF8), tcp_dst=(1, 1)) == (Match("tcp_dst", 1, 1), Match("tcp_src", 8, 0xFFF8))
    assert match(ipv4_src=IPv4Network("10.0.0.0/8")) == (Match("ipv4_src", 10 << 24, 0xFF000000),)
    assert match(ipv4_src=IPv4Network("10.0.0.2/32")) == (Match("ipv4_src", (10 << 24) + 2),)
    # Nothing is left of what matches everything.
    assert match(metadata=7, ipv4_src=IPv4Network("0.0.0.0/0"), tcp_dst=(0, 0)) == (Match("metadata", 7),)
    assert match(ipv6_src=IPv6Network("fd00:7::/64")) == (
        Match("ipv6_src", 0xFD000007 << 96, 0xFFFFFFFFFFFFFFFF << 64),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"match": (Match("tunnel_id", 7),)}, "does not match on tunnel_id"),
        ({"match": (Match("metadata", 1 << 64),)}, "does not fit 64 bits"),
        ({"match": (Match("ipv4_dst", 1, 0xFFFFFF00),)}, "has bits outside its mask 0xffffff00"),
        ({"match": (Match("ipv4_dst", 0, 0),)}, "leave out the mask, or the field"),
        ({"match": (Match("ipv4_dst", 1, 0xFFFFFFFF),)}, "leave out the mask, or the field"),
        ({"actions": (Goto(Table.CLASSIFY),)}, "may not go to table"),
        ({"actions": (SetField("eth_dst", 1 << 48),)}, "does not fit 48 bits"),
        ({"actions": (Move("eth_src", "ipv4_src"),)}, "widths differ"),
    ],
)
def test_an_illegal_flow_dies(change, says):
    flow = pipeline.default_flow(7, HOST)
    with pytest.raises(PipelineError, match=says):
        pipeline.check_flow(replace(flow, **change))


def test_a_prefix_ranks_by_length_between_the_default_and_any_single_address():
    ranks = [
        pipeline.route_prefix_flow(7, IPv4Network((0, length)), HOST).priority for length in range(33)
    ]  # fmt: skip
    assert ranks == sorted(set(ranks))
    assert pipeline.default_flow(7, HOST).priority < ranks[0]
    assert ranks[-1] < pipeline.route_flow(7, BLUE, HOST).priority
    assert ranks[-1] < pipeline.relay_flow(7, BLUE, HOST).priority


def test_a_prefix_matches_in_the_one_form_a_switch_gives_back():
    matches = [
        [match for match in pipeline.relay_prefix_flow(7, IPv4Network(prefix), HOST).match if match.field == "ipv4_dst"]
        for prefix in ("0.0.0.0/0", "192.168.0.0/16", "192.168.7.7/32")
    ]
    assert matches == [[], [Match("ipv4_dst", 0xC0A80000, 0xFFFF0000)], [Match("ipv4_dst", 0xC0A80707)]]


@pytest.mark.parametrize(
    ("table", "spec", "says"),
    [
        (Table.ROUTE, TableSpec(frozenset(), frozenset({Table.ARP})), "ROUTE declares a goto that is not forward: 20"),
        (Table.ROUTE, TableSpec(frozenset(), frozenset({Table.ROUTE})), "ROUTE declares a goto that is not forward"),
        (Table.RELAY, TableSpec(frozenset(), frozenset({60})), "RELAY declares a goto that is not forward: 60"),
        (Table.ARP, TableSpec(frozenset({"colour"}), frozenset()), r"ARP declares unknown fields \['colour'\]"),
        (Table.TUNNEL, TableSpec(frozenset(), frozenset({Table.DELIVER})), "nothing reaches or declares: .*RELAY: 50"),
    ],
)
def test_an_illegal_declaration_dies(monkeypatch, table, spec, says):
    tables._check_pipeline()
    monkeypatch.setitem(PIPELINE, table, spec)
    with pytest.raises(PipelineError, match=says):
        tables._check_pipeline()


@pytest.mark.parametrize("table", Table)
def test_a_table_that_is_not_declared_dies(monkeypatch, table):
    monkeypatch.delitem(PIPELINE, table)
    with pytest.raises(PipelineError, match="nothing reaches or declares|declares a goto that is not forward"):
        tables._check_pipeline()


def test_the_declaration_is_checked_at_import(monkeypatch):
    monkeypatch.delitem(FIELDS, "vlan_vid")
    with pytest.raises(ValueError, match=r"table CLASSIFY declares unknown fields \['vlan_vid'\]"):
        runpy.run_path(tables.__file__)


def test_what_comes_from_the_fabric_never_goes_back_on_a_vm_host():
    delivered = [flow for flow in all_flows() if flow.table == Table.DELIVER]
    assert not any(
        isinstance(action, SetField) and action.field == "tun_ipv4_dst" for f in delivered for action in f.actions
    )
    # Behind it stands the firewall, and behind that the vport: tables that set nothing.
    assert PIPELINE[Table.DELIVER].gotos == {Table.INGRESS}
    assert PIPELINE[Table.INGRESS].gotos == {Table.VPORT}
    assert PIPELINE[Table.VPORT].gotos == frozenset()
