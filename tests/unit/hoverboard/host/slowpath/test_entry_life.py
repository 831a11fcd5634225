"""Entries that go: aged, evicted, forgotten with their port; and what is remembered of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.packets.flow_table import FlowTable
from tests.unit.hoverboard.flow_miss_oracle import (
    LOCAL_FLOW,
    OFPORT,
    PORT,
    ROUTED,
    SPOOFED,
    carried,
    learnt,
    missed,
)
from tests.unit.hoverboard.packets import frame


@pytest.mark.parametrize(
    ("in_port", "verdict", "kept"), [(OFPORT, ROUTED, 1), (TUNNEL_PORT, ROUTED, 0), (OFPORT, SPOOFED, 0)]
)
def test_only_what_will_be_reported_is_remembered_of_an_entry_that_goes(handler, in_port, verdict, kept):
    handler.switch.answer = verdict
    missed(handler, frame())
    handler.handle()
    ((key, cached),) = handler.cached.items()
    cached.in_port = in_port
    handler.forget([key])
    assert len(handler.forgotten) == kept


def test_an_entry_that_carried_nothing_since_the_last_look_ages(handler):
    busy, idle = learnt(handler, [100, 101])
    handler.expire()  # the first look only remembers
    assert len(handler.table) == 2
    carried(handler, busy, 1)
    handler.expire()
    assert list(handler.cached) == [busy]
    assert idle not in handler.table
    assert handler.table.aged == 1
    handler.expire()
    assert not handler.cached
    assert (handler.table.aged, handler.table.evicted) == (2, 0)


@pytest.mark.parametrize("packets", [0, 1, 2])
def test_a_new_entry_is_not_idle_at_the_first_look(handler, packets):
    (key,) = learnt(handler, [100])
    handler.datapath.egress.stats[handler.table._rows[key]] = packets, 100 * packets
    handler.expire()
    assert key in handler.table
    handler.expire()
    assert key not in handler.table


def test_a_full_table_evicts_what_carried_least_lately(handler, monkeypatch):
    monkeypatch.setattr(FlowTable, "capacity", 8)
    keys = learnt(handler, range(100, 108))
    for number, key in enumerate(keys):
        carried(handler, key, 100 if number == 3 else 50 - number)
    handler.expire()
    for key in keys:
        carried(handler, key, 1 if key == keys[3] else 5)  # the third was the busiest once, and is not any more
    (new,) = learnt(handler, [120])
    assert keys[3] not in handler.table
    assert new in handler.table
    assert len(handler.table) == 8
    assert (handler.table.aged, handler.table.evicted) == (0, 1)
    assert handler.forgotten[-1][1:] == (202, 20_200), "what an evicted entry had carried is still reported"


def test_a_burst_that_finds_no_room_evicts_as_many_as_it_needs(handler, monkeypatch):
    monkeypatch.setattr(FlowTable, "capacity", 8)
    keys = learnt(handler, range(100, 108))
    for number, key in enumerate(keys):
        carried(handler, key, 10 + number)
    handler.received.changed.clear()
    for proto in (120, 121, 122):
        missed(handler, frame(proto=proto))
    handler.handle()
    assert list(handler.cached)[:5] == keys[3:]
    assert (len(handler.table), handler.table.evicted) == (8, 3)
    assert handler.received.changed == keys[:3] + list(handler.cached)[5:]


def test_a_table_that_has_just_room_evicts_nothing(handler, monkeypatch):
    monkeypatch.setattr(FlowTable, "capacity", 8)
    learnt(handler, range(100, 108))
    assert (len(handler.table), handler.table.evicted) == (8, 0)


def test_a_large_table_makes_room_for_more_than_it_needs_at_once(handler, monkeypatch):
    monkeypatch.setattr(FlowTable, "capacity", 32)
    learnt(handler, range(100, 133))
    assert (len(handler.table), handler.table.evicted) == (32 - 4 + 1, 4)


def test_a_hoverboard_remembers_what_it_relayed(handler):
    handler.report_relayed(True)
    (key,) = learnt(handler, [100])
    handler.cached[key].in_port = TUNNEL_PORT
    carried(handler, key, 3)
    cached = handler.cached[key]
    handler.forget([key])
    assert handler.forgotten == [(cached, 6, 600)]


def test_forgetting_reports_to_the_owner_and_an_unknown_key_is_no_error(handler):
    first, second = learnt(handler, [100, 101])
    handler.received.changed.clear()
    handler.forget([first])
    handler.forget([first])
    assert handler.received.changed == [first, first]
    assert list(handler.cached) == [second]
    assert list(handler.table.statistics()) == [second]
    assert len(handler.forgotten) == 1


@pytest.mark.parametrize(
    ("ofport", "left"), [(OFPORT, []), (OFPORT + 1, [0, 2]), (OFPORT + 2, [0, 1, 2]), (TUNNEL_PORT, [1, 2])]
)
def test_a_port_that_goes_takes_the_entries_from_it_and_to_it(handler, ofport, left):
    keys = []
    for number, answer in enumerate((ROUTED, LOCAL_FLOW, SPOOFED)):
        handler.switch.answer = answer
        keys += learnt(handler, [100 + number])
    handler.forget_port(ofport)
    assert list(handler.cached) == [keys[number] for number in left]
    assert handler.cached.keys() == handler.table.statistics().keys()


def test_a_port_that_goes_takes_what_came_in_by_the_tunnel_for_it(handler):
    handler.switch.answer = replace(LOCAL_FLOW, out_port=OFPORT)
    (key,) = learnt(handler, [100])
    handler.cached[key].in_port = TUNNEL_PORT
    handler.forget_port(OFPORT + 1)
    assert key in handler.table
    handler.forget_port(OFPORT)
    assert key not in handler.table
    missed(handler, frame(proto=100), PORT)
    handler.handle()
    assert key in handler.table, "its packets come back as misses"
