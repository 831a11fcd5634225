"""Usage from a switch's own flow cache, whose flows come and go."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from hoverboard.host.checkpoint import Saved
from hoverboard.host.ovs_plane import OvsPlane
from hoverboard.vswitch.megaflows import Megaflow


def megaflow(match, packets, size=100, peer="172.16.0.2", from_tunnel=False):
    return Megaflow(
        match, 7, from_tunnel, IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3"), 6,
        IPv4Address(peer) if peer else None, None, packets, packets * size,
    )  # fmt: skip


@pytest.fixture
def plane(monkeypatch):
    plane = OvsPlane.__new__(OvsPlane)
    plane._seen = {}
    plane.cache = []
    monkeypatch.setattr(OvsPlane, "_megaflows", lambda self: self.cache)
    return plane


def usage(plane, *flows):
    plane.cache = list(flows)
    return [(flow.bytes, flow.packets) for flow in plane.usage()]


def test_only_what_is_new_is_reported(plane):
    assert usage(plane, megaflow("a", 5)) == [(500, 5)]
    assert usage(plane, megaflow("a", 5)) == []
    assert usage(plane, megaflow("a", 7)) == [(200, 2)]


def test_flows_of_a_pair_are_summed(plane):
    assert usage(plane, megaflow("a", 5), megaflow("b", 1)) == [(600, 6)]


def test_a_forgotten_flow_is_not_new_traffic_of_its_pair(plane):
    usage(plane, megaflow("a", 500), megaflow("b", 400))
    assert usage(plane, megaflow("b", 401)) == [(100, 1)]


def test_a_flow_that_was_made_anew_counts_from_zero(plane):
    usage(plane, megaflow("a", 500))
    usage(plane)
    assert usage(plane, megaflow("a", 3)) == [(300, 3)]
    assert usage(plane, megaflow("a", 2)) == [(200, 2)]


def test_what_was_counted_under_the_host_process_before_is_not_reported_again(plane):
    plane.cache = [megaflow("a", 500)]
    plane.resume(Saved())
    assert usage(plane, megaflow("a", 502)) == [(200, 2)]


def test_what_is_relayed_is_told_when_asked_for_and_who_learns_hears_of_every_way(plane):
    plane.tell_relayed(True)
    ways = []
    plane.follow(lambda *_: None, ways.extend)
    assert usage(plane, megaflow("a", 5, from_tunnel=True), megaflow("b", 1)) == [(600, 6)]
    assert ways == [(7, IPv4Address("10.0.0.3"), IPv4Address("172.16.0.2"))]


def test_what_is_delivered_here_or_comes_from_the_fabric_is_not_sent(plane):
    assert usage(plane, megaflow("a", 5, peer=None), megaflow("b", 5, from_tunnel=True)) == []
