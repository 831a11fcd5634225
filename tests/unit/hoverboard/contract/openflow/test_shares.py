"""A switch's flows of the regional and of the global control plane: the cookie separates them, ranks order them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from hoverboard.contract.openflow import pipeline
from hoverboard.contract.openflow.flow import Flow
from hoverboard.contract.openflow.pipeline import Kind, Table
from hoverboard.contract.openflow.shares import GLOBAL, REGIONAL, WHOLE, global_flow, globally

VM, PEER, HOST = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), IPv4Address("172.16.0.1")
ROUTE = pipeline.route_flow(7, PEER, HOST)
# What a VM's own host has for its address, by table.
LOCAL = {
    Table(flow.table): flow
    for flow in pipeline.vport_flows(7, 100, VM, "06:07:0a:00:00:02")
    if pipeline.kind_of(flow.cookie) is Kind.LOCAL
}


def test_bit_0_of_the_cookie_is_the_share() -> None:
    there = global_flow(ROUTE)
    assert there.cookie == ROUTE.cookie | 1
    assert (pipeline.kind_of(there.cookie), pipeline.vni_of(there.cookie)) == (Kind.ROUTE, 7)
    assert [share.holds(ROUTE) for share in (WHOLE, REGIONAL, GLOBAL)] == [True, True, False]
    assert [share.holds(there) for share in (WHOLE, REGIONAL, GLOBAL)] == [True, False, True]
    assert [tuple(share) for share in (WHOLE, REGIONAL, GLOBAL)] == [(0, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("flow", "lower"),
    [
        (ROUTE, 1),
        (pipeline.offload_flow(7, VM, PEER, HOST), 1),
        (LOCAL[Table.ROUTE], 1),
        (pipeline.relay_flow(7, PEER, HOST), 1),
        (pipeline.default_flow(7, HOST), 0),
        (pipeline.route_prefix_flow(7, IPv4Network("192.168.0.0/16"), HOST), 0),
        (pipeline.network_flows(7, hoverboard=True)[0], 0),
        (LOCAL[Table.DELIVER], 0),
    ],
)
def test_a_global_flow_for_one_vm_ranks_just_below_a_regional_one(flow: Flow, lower: int) -> None:
    there = global_flow(flow)
    assert (there.table, there.match, there.actions) == (flow.table, flow.match, flow.actions)
    assert there.priority == flow.priority - lower


def test_a_maker_of_flows_makes_them_for_the_global_share() -> None:
    gateway = IPv4Address("10.0.0.1")
    one, several = globally(pipeline.route_flow), globally(pipeline.gateway_flows)
    assert one(7, PEER, HOST) == global_flow(ROUTE)
    assert several(7, gateway) == [global_flow(flow) for flow in pipeline.gateway_flows(7, gateway)]
    # The same function each time: blocks of flows are equal if their makers are.
    assert one is globally(pipeline.route_flow)
    assert one.__name__ == "route_flow"
