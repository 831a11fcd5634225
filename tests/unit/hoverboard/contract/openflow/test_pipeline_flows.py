"""Each function of the pipeline makes the flows that `golden/pipeline.flows` lists, which reads like a dump."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from hoverboard.contract.openflow import pipeline
from hoverboard.contract.openflow.flow import Flow
from tests.unit.hoverboard.flow_text import golden, lines

VM, PEER = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
VM6, PEER6 = IPv6Address("fd00:7::2"), IPv6Address("fd00:7::3")
MAC = "06:07:0a:00:00:02"
ROUTED = IPv4Network("192.168.0.0/16")
HOST, HOVERBOARD = IPv4Address("172.16.0.1"), IPv4Address("172.16.255.1")

MADE: dict[str, Callable[[], Flow | list[Flow]]] = {
    "every switch": lambda: pipeline.base_flows(),
    "a network on a VM host": lambda: pipeline.network_flows(7, hoverboard=False),
    "a network on a Hoverboard": lambda: pipeline.network_flows(7, hoverboard=True),
    "a subnetwork's gateway": lambda: pipeline.gateway_flows(7, IPv4Address("10.0.0.1")),
    "IPv6 of a network": lambda: pipeline.link_flows(7),
    "IPv6 of a network with a firewall, where a packet goes on": lambda: pipeline.link_flows(7, True)[-1],
    "a VM with IPv4 only": lambda: pipeline.vport_flows(7, 100, VM, MAC),
    "a VM with IPv4 and IPv6 in a network with a firewall": lambda: pipeline.vport_flows(7, 100, VM, MAC, VM6, True),
    "a route to a VM": lambda: pipeline.route_flow(7, PEER, HOST),
    "a route to a VM, IPv6": lambda: pipeline.route_flow(7, PEER6, HOST),
    "an offloaded pair": lambda: pipeline.offload_flow(7, VM, PEER, HOST),
    "an offloaded pair, IPv6": lambda: pipeline.offload_flow(7, VM6, PEER6, HOST),
    "the default route": lambda: pipeline.default_flow(7, HOVERBOARD),
    "the default route, IPv6, of a host that may learn": lambda: pipeline.default_flow(7, HOVERBOARD, 6, learn=True),
    "a question to the controller": lambda: pipeline.punt_flow(7),
    "a question to the controller, IPv6": lambda: pipeline.punt_flow(7, 6),
    "the answer that nothing is there": lambda: pipeline.unknown_flow(7, PEER),
    "the answer that nothing is there, IPv6": lambda: pipeline.unknown_flow(7, PEER6),
    "a VM on a Hoverboard": lambda: pipeline.relay_flow(7, PEER, HOST),
    "a VM on a Hoverboard, IPv6": lambda: pipeline.relay_flow(7, PEER6, HOST),
    "what a next hop may send as": lambda: pipeline.source_prefix_flows(7, 100, MAC, ROUTED),
    "what a next hop may send as, with a firewall": lambda: pipeline.source_prefix_flows(7, 100, MAC, ROUTED, True),
    "a routed prefix at its next hop's host": lambda: pipeline.local_prefix_flows(7, ROUTED, 100, MAC),
    "a routed prefix at its next hop's host, with a firewall": lambda: pipeline.local_prefix_flows(
        7, ROUTED, 100, MAC, True
    ),
    "a routed prefix whose next hop is not plugged in": lambda: pipeline.local_prefix_flows(7, ROUTED, None, MAC),
    "a routed prefix at another host": lambda: pipeline.route_prefix_flow(7, ROUTED, HOST),
    "a routed prefix on a Hoverboard": lambda: pipeline.relay_prefix_flow(7, ROUTED, HOST),
}
GOLDEN = golden("pipeline.flows")


@pytest.mark.parametrize("title", MADE)
def test_the_switch_is_given_these_flows(title: str) -> None:
    assert lines(MADE[title]()) == GOLDEN[title]


def test_every_golden_flow_has_its_maker() -> None:
    assert GOLDEN.keys() == MADE.keys()
