"""Usage from a switch's own flow cache, whose flows come and go."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.host.checkpointing.checkpoint import SavedState
from hoverboard.host.generations.ovs import OvsPlane
from hoverboard.host.listeners import NO_LISTENER, NoListener
from hoverboard.host.telemetry.switch_usage import SwitchUsage
from hoverboard.host.underlay.datagrams import KernelDatagrams
from hoverboard.vswitch.megaflows import Megaflow
from hoverboard.vswitch.ovs import Ovs


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


# --- a host process that resumes --------------------------------------------------------------------------

DUMP = (
    "in_port(5),eth(),eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.3,frag=no), packets:{0}, bytes:{0}00, used:0.1s, "
    "actions:set(tunnel(tun_id=0x7,dst=172.16.0.2,ttl=64)),3"
)


class Switch(Ovs):
    """A switch with one megaflow."""

    packets = 0

    def appctl(self, command, *args):
        assert command == "dpctl/dump-flows"
        return DUMP.format(self.packets)


def test_what_the_switch_carried_before_a_host_process_resumes_is_no_new_usage(tmp_path, monkeypatch):
    monkeypatch.setattr(OvsPlane, "_listen", lambda _: socket.socket(socket.AF_UNIX))
    switch = Switch(tmp_path)
    datagrams = KernelDatagrams(socket.socket(socket.AF_UNIX))
    plane = OvsPlane(switch, IPv4Address("172.16.0.1"), datagrams, NO_LISTENER)
    switch.packets = 500
    plane.resume(SavedState())
    switch.packets = 502
    assert [(flow.bytes, flow.packets) for flow in plane.usage()] == [(200, 2)]
    plane.close()
