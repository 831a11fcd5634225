"""What flow tables have carried, as it is reported: usage by VM pair, entries by their ways, counters."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT, Kind
from hoverboard.contract.reports import FlowUsage
from hoverboard.fastpath.memory import reasons
from hoverboard.fastpath.packets.flow_table import FlowTable
from hoverboard.host.slowpath.known_entries import KnownEntry
from hoverboard.host.telemetry import usage
from hoverboard.vswitch.monitor import Change
from tests.unit.hoverboard.flow_miss_oracle import (
    LOCAL_FLOW,
    OFFLOADED,
    OFPORT,
    PORT,
    REMOTE,
    ROUTED,
    SPOOFED,
    Oracle,
    carried,
    carry,
    learnt,
)

SRC, DST = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")


def used(*handlers: Oracle) -> list[tuple[int, int]]:
    """(packets, bytes) by pair."""
    return [(flow.packets, flow.bytes) for flow in usage.usage([(one.table, one) for one in handlers])]


def test_usage_is_what_was_sent_since_the_last_call(handler):
    first, second = learnt(handler, [100, 101])
    carried(handler, first, 3)
    carried(handler, second, 1)
    assert usage.usage([(handler.table, handler)]) == (FlowUsage(7, SRC, DST, 800, 8),)
    assert used(handler) == []
    carried(handler, second, 2)
    assert used(handler) == [(4, 400)]


def test_usage_of_several_tables_is_summed_by_pair(handler):
    other = Oracle()
    for one, packets in ((handler, 1), (other, 2)):
        carried(one, learnt(one, [100])[0], packets)
    assert used(handler, other) == [(6, 600)]
    other.datapath.stop()


def test_networks_and_directions_are_apart(handler):
    handler.switch.answer = replace(ROUTED, vni=8)
    (eight,) = learnt(handler, [101])
    handler.switch.answer = ROUTED
    (seven,) = learnt(handler, [100])
    handler.cached[eight].src, handler.cached[eight].dst = DST, SRC
    for key in (seven, eight):
        carried(handler, key, 1)
    assert usage.usage([(handler.table, handler)]) == (
        FlowUsage(8, DST, SRC, 200, 2),
        FlowUsage(7, SRC, DST, 200, 2),
    )


def test_an_entry_that_went_is_reported_once_more(handler):
    (key,) = learnt(handler, [100])
    carried(handler, key, 1)
    assert used(handler) == [(2, 200)]
    carried(handler, key, 2)
    handler.forget([key])
    assert used(handler) == [(4, 400)]
    assert (handler.forgotten, used(handler)) == ([], [])


@pytest.mark.parametrize(
    ("answer", "in_port", "relays", "reported"),
    [
        (ROUTED, OFPORT, False, True),
        (LOCAL_FLOW, OFPORT, False, False),
        (SPOOFED, OFPORT, False, False),
        (ROUTED, TUNNEL_PORT, False, False),
        (ROUTED, TUNNEL_PORT, True, True),
        (LOCAL_FLOW, TUNNEL_PORT, True, False),
    ],
    ids=["into the fabric", "to a VM here", "dropped", "relayed by a host", "relayed by a Hoverboard", "delivered"],
)
def test_only_what_goes_into_the_fabric_is_usage(handler, answer, in_port, relays, reported):
    handler.report_relayed(relays)
    handler.switch.answer = answer
    (key,) = learnt(handler, [100])
    handler.cached[key].in_port = in_port
    carried(handler, key, 1)
    assert used(handler) == ([(2, 200)] if reported else [])


@pytest.mark.parametrize("end", ["src", "dst"])
def test_what_is_not_between_two_addresses_is_no_usage(handler, end):
    (key,) = learnt(handler, [100])
    setattr(handler.cached[key], end, None)
    carried(handler, key, 1)
    assert used(handler) == []


def test_only_bytes_or_only_packets_are_news_too(handler):
    (key,) = learnt(handler, [100])
    handler.datapath.egress.stats[handler.table._rows[key]] = 0, 5
    assert used(handler) == [(0, 5)]


ENTRY = KnownEntry("", ROUTED, OFPORT, SRC, DST, 17)
KEY = (OFPORT << 48 | 0x0800 << 32 | 17 << 24, 0, 0, 0, 0, 0, 0, 0)
ROW = {
    "vni": 7, "src": "10.0.0.2", "dst": "10.0.0.3", "proto": 17, "ports": None, "sender": "blue-1", "more": None,
    "cookie": "0x6000007000000", "kind": "route", "via": str(REMOTE), "from": "vm",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({}, {}),
        ({"in_port": TUNNEL_PORT}, {"from": "tunnel"}),
        ({"src": None, "dst": None}, {"src": None, "dst": None, "proto": None}),
        ({"verdict": LOCAL_FLOW}, {"via": "blue-2"}),
        ({"verdict": replace(ROUTED, vni=0, tun_id=9)}, {"vni": 9, "cookie": "0x6000000000000"}),
        ({"verdict": replace(LOCAL_FLOW, vni=6)}, {"vni": 6, "via": "blue-2", "cookie": "0x6000006000000"}),
        ({"verdict": SPOOFED}, {"kind": "drop-spoofed", "via": None, "cookie": "0x102000007000000"}),
        ({"verdict": replace(SPOOFED, kind=None)}, {"kind": None, "via": None, "cookie": None}),
        ({"verdict": replace(ROUTED, kind=Kind.TO_HOVERBOARD)}, {"kind": "to-hoverboard", "cookie": "0x8000007000000"}),
        ({"verdict": LOCAL_FLOW, "dropped": "dos-blocked"}, {"kind": "drop-dos-blocked", "via": None, "cookie": None}),
    ],
)
def test_an_entry_in_words(changed, row):
    assert usage.describe(KEY, replace(ENTRY, **changed), "blue-2", "blue-1") == {**ROW, **row}


def test_a_flow_has_a_row_for_each_way_that_it_led(handler):
    handler.switch.answer = LOCAL_FLOW
    learnt(handler, [100])
    carry(handler, 4, 400)
    handler.switch.answer = OFFLOADED
    handler.revalidate([Change()])
    carry(handler, 1, 100)
    names = {PORT + 1: "blue-2"}
    rows = usage.flows(handler.table, handler, names.get, {OFPORT: "blue-1"}.get)
    assert [(row["kind"], row["via"], row["now"], row["packets"], row["bytes"]) for row in rows] == [
        ("route", "blue-2", False, 4, 400), ("offload", "172.16.0.9", True, 1, 100),
    ]  # fmt: skip


def test_counters_are_sums_over_ports_and_engines(handler):
    egress, ingress = handler.datapath.memories
    for memory, factor in ((egress, 1), (ingress, 10)):
        memory.port_stats[2] = [factor, 2 * factor, 3 * factor, 4 * factor]
        memory.port_stats[3] = [factor, 0, 0, 0]
        memory.drops[reasons.NAMES.index("vlan")] = factor
    handler.drops.by_reason.update({"vlan": 5, "spoofed": 2})
    handler.misses = 9
    assert usage.counters(handler.datapath.memories, handler) == {
        "rx_packets": 22, "rx_bytes": 22, "tx_packets": 33, "tx_bytes": 44, "misses": 9,
        "drops": {"vlan": 16, "spoofed": 2}, "drops_by_flow": {},
    }  # fmt: skip


def test_the_state_of_a_flow_table(handler):
    learnt(handler, [100, 101])
    handler.table.evicted, handler.table.aged = 3, 4
    handler.revalidate([Change()])
    assert usage.table(handler.table, handler) == {
        "entries": 2, "capacity": FlowTable.capacity.fget(handler.table), "evicted": 3, "aged": 4,
        "traces": 4, "revalidations": 2,
    }  # fmt: skip


def test_numbers_are_merged_in_depth():
    one, two = {"a": 1, "deep": {"x": 1}}, {"a": 2, "b": 3, "deep": {"x": 4, "y": 5}, "new": {"z": 6}}
    assert usage.merge(one, two) is one
    assert two == {"a": 2, "b": 3, "deep": {"x": 4, "y": 5}, "new": {"z": 6}}, "the other is as it was"
    assert one == {"a": 3, "b": 3, "deep": {"x": 5, "y": 5}, "new": {"z": 6}}
