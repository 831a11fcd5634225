"""Usage from a switch's own flow cache, whose flows come and go."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.host.listeners import NoListener
from hoverboard.host.telemetry.switch_usage import SwitchUsage
from hoverboard.vswitch.megaflows import Megaflow


def megaflow(match, packets, size=100, peer="172.16.0.2", from_tunnel=False):
    return Megaflow(
        match, 7, from_tunnel, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 6,
        IPv4Address(peer) if peer else None, None, packets, packets * size,
    )  # fmt: skip


class Cache(NoListener):
    """A flow cache, and the routes that were reported."""

    def __init__(self):
        self.flows = []
        self.routes = []
        self.usage = SwitchUsage(lambda: self.flows, self)

    def routes_used(self, routes):
        self.routes.extend(routes)


@pytest.fixture
def cache():
    return Cache()


def usage(cache, *flows, relayed=False):
    cache.flows = list(flows)
    return [(flow.bytes, flow.packets) for flow in cache.usage.usage(relayed)]


def test_only_what_is_new_is_reported(cache):
    assert usage(cache, megaflow("a", 5)) == [(500, 5)]
    assert usage(cache, megaflow("a", 5)) == []
    assert usage(cache, megaflow("a", 7)) == [(200, 2)]


def test_flows_of_a_pair_are_summed(cache):
    assert usage(cache, megaflow("a", 5), megaflow("b", 1)) == [(600, 6)]


def test_a_forgotten_flow_is_not_new_traffic_of_its_pair(cache):
    usage(cache, megaflow("a", 500), megaflow("b", 400))
    assert usage(cache, megaflow("b", 401)) == [(100, 1)]


def test_a_flow_that_was_replaced_counts_from_zero(cache):
    usage(cache, megaflow("a", 500))
    usage(cache)
    assert usage(cache, megaflow("a", 3)) == [(300, 3)]
    assert usage(cache, megaflow("a", 2)) == [(200, 2)]


def test_relayed_packets_are_reported_on_request_and_every_used_route_to_the_listener(cache):
    found = usage(cache, megaflow("a", 5, from_tunnel=True), megaflow("b", 1), relayed=True)
    assert found == [(600, 6)]
    assert cache.routes == [(7, IPv4Address("10.0.0.3"), IPv4Address("172.16.0.2"))]


def test_a_switch_that_is_down_has_no_usage_and_counts_go_on_afterwards(cache):
    def away():
        raise SwitchError("away")

    switch = [away, lambda: [megaflow("a", 5)], away, lambda: [megaflow("a", 7)]]
    read = SwitchUsage(lambda: switch.pop(0)(), cache)
    assert [[flow.packets for flow in read.usage()] for _ in range(4)] == [[], [5], [], [2]]


def test_what_is_delivered_here_or_comes_from_the_fabric_is_not_sent(cache):
    assert usage(cache, megaflow("a", 5, peer=None), megaflow("b", 5, from_tunnel=True)) == []
