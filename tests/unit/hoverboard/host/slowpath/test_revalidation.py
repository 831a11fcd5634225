"""Entries after the tables, the switch or the host process changed, against a switch with given answers."""

from __future__ import annotations

import select
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.fastpath.memory import entries, reasons
from hoverboard.fastpath.packets.flow_table import FlowTable
from hoverboard.fastpath.packets.parse import FIVE_TUPLE
from hoverboard.host.slowpath import flow_misses
from hoverboard.host.telemetry import usage as accounts
from hoverboard.vswitch.monitor import Change
from tests.unit.hoverboard.flow_miss_oracle import (
    EMPTY,
    LOCAL_FLOW,
    OFFLOADED,
    OFPORT,
    PORT,
    REMOTE,
    ROUTED,
    SPOOFED,
    Oracle,
    carry,
    entry,
    kinds,
    learn,
    missed,
    revalidate_all,
)
from tests.unit.hoverboard.packets import frame

STALE_BATCH = 32  # asked about in one turn
# In a switch that has lost its program: no table at all, or the first flows only.
UNPROGRAMMED = [EMPTY, replace(SPOOFED, kind=Kind.DROP_UNKNOWN_PORT)]


def changed_keys(handler):
    """Keys of entries that change from now on."""
    handler.received.changed.clear()
    return handler.received.changed


def woken(handler):
    """Whether the loop comes back."""
    return bool(select.select([handler.datapath.control_eventfd], [], [], 0)[0])


def test_a_switch_without_program_makes_no_entry_and_changes_none(handler):
    missed(handler, frame())
    handler.handle()
    before = entry(handler)
    handler.switch.answer = replace(SPOOFED, kind=None, matched=False)
    handler.mark_all_stale()
    handler.revalidate([Change()])
    assert entry(handler) == before
    missed(handler, frame(proto=99))
    handler.handle()
    assert handler.drops.by_reason == {"switch-not-programmed": 1}
    assert len(handler.cached) == 1


@pytest.mark.parametrize("answer", UNPROGRAMMED, ids=["no flow", "first flows only"])
def test_an_entry_of_the_switch_that_runs_goes_with_its_flow(handler, answer):
    """A flow that is deleted is no restart, where all of them are away: what matches no flow any more is dropped."""
    learn(handler, 2)
    handler.switch.answer = answer
    handler.revalidate([Change(vni=7)])
    assert (handler.cached, len(handler.table)) == ({}, 0)


def test_an_entry_that_a_restart_left_follows_the_new_switch_once_it_has_had_a_program(handler):
    learn(handler, 2)
    handler.mark_all_stale()
    for answer, kept in ((UNPROGRAMMED[0], 2), (UNPROGRAMMED[1], 2), (OFFLOADED, 2), (UNPROGRAMMED[0], 0)):
        handler.switch.answer = answer
        handler.revalidate([Change(in_port=OFPORT)])
        assert len(handler.cached) == kept, answer


def test_an_entry_whose_program_is_away_is_asked_about_at_every_change(handler):
    """Its network may be another one by then, so that no change would be about the entry's own."""
    learn(handler, 1)
    handler.mark_all_stale()
    handler.switch.answer = UNPROGRAMMED[0]
    handler.revalidate_some()
    handler.switch.answer = replace(OFFLOADED, vni=9, metadata=frozenset({0, 9}))
    handler.revalidate([Change(vni=9, dst=IPv4Network("10.0.0.77"))])
    assert kinds(handler) == [Kind.OFFLOAD]


def test_what_a_switch_did_not_answer_about_is_asked_about_later(handler):
    learn(handler, 3)
    handler.switch.answer = SwitchError("busy")
    handler.revalidate([Change(vni=7)])
    assert (kinds(handler), handler.stale) == ([Kind.ROUTE] * 3, 3)
    handler.switch.answer = OFFLOADED
    handler.revalidate([Change(vni=8)])
    assert (kinds(handler), handler.stale) == ([Kind.OFFLOAD] * 3, 0)


def test_a_flow_that_is_not_ours_changes_entries(handler):
    missed(handler, frame())
    handler.handle()
    handler.switch.answer = replace(SPOOFED, kind=None)
    handler.revalidate([Change(dst=IPv4Network("10.0.0.3"))])
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("unnamed-flow"))


def test_what_went_each_way_stays_apart_when_the_answer_changes(handler):
    offloaded = replace(ROUTED, kind=Kind.OFFLOAD, tun_dst=IPv4Address("172.16.0.9"))
    missed(handler, frame())
    handler.handle()
    for answer, packets in ((offloaded, 3), (ROUTED, 5), (offloaded, 7)):
        carry(handler, packets, 100 * packets)
        handler.switch.answer = answer
        handler.revalidate([Change()])
    carry(handler, 20, 2000)
    rows = accounts.flows(handler.table, handler, {}.get, {}.get)
    assert [(row["kind"], row["via"], row["now"], row["packets"], row["bytes"]) for row in rows] == [
        ("route", "172.16.0.2", False, 10, 1000),
        ("offload", "172.16.0.9", False, 5, 500),
        ("offload", "172.16.0.9", True, 20, 2000),
    ]
    (usage,) = accounts.usage([(handler.table, handler)])
    assert (usage.packets, usage.bytes) == (35, 3500)


def test_a_switch_that_goes_away_half_way_leaves_no_entry_that_looks_right_and_is_not(handler):
    missed(handler, frame())
    missed(handler, frame(proto=99))
    handler.handle()
    answers = iter([SPOOFED, SwitchError("gone"), SPOOFED, SPOOFED])
    handler.switch.answer = lambda _question: next(answers)
    handler.revalidate([Change()])
    handler.revalidate([Change()])
    assert {action for action, *_ in handler.table.statistics().values()} == {entries.ACT_DROP}


def test_what_is_doubted_is_asked_about_again_a_few_at_a_time(handler):
    learn(handler, 50)
    handler.switch.answer = OFFLOADED
    handler.mark_all_stale()
    assert handler.stale == 50
    handler.datapath.reset_control_eventfd()
    handler.revalidate_some()
    assert handler.stale == 50 - STALE_BATCH
    assert woken(handler), "the loop comes back for the rest"
    assert kinds(handler) == [Kind.OFFLOAD] * STALE_BATCH + [Kind.ROUTE] * (50 - STALE_BATCH)
    handler.datapath.reset_control_eventfd()
    handler.revalidate_some()
    assert handler.stale == 0
    assert not woken(handler)
    assert set(kinds(handler)) == {Kind.OFFLOAD}


@pytest.mark.parametrize("answer", [SwitchError("away"), *UNPROGRAMMED], ids=["away", "no flow", "first flows only"])
def test_a_switch_that_is_away_or_empty_takes_no_entry_away(handler, answer):
    learn(handler, 50)
    handler.switch.answer = answer
    revalidate_all(handler)
    assert kinds(handler) == [Kind.ROUTE] * 50
    assert handler.stale == (50 if isinstance(answer, SwitchError) else 0)
    handler.revalidate([Change()])
    assert kinds(handler) == [Kind.ROUTE] * 50


@pytest.mark.parametrize("lost", UNPROGRAMMED, ids=["no flow", "first flows only"])
def test_a_switch_that_gets_its_program_back_makes_no_entry_a_miss_however_many_there_are(handler, monkeypatch, lost):
    monkeypatch.setattr(flow_misses, "_RETRACE_MAX", 10)
    learn(handler, 50)
    handler.switch.answer = lost
    revalidate_all(handler)
    handler.switch.answer = OFFLOADED
    asked = handler.traces
    handler.revalidate([Change()])
    assert (handler.traces - asked, handler.stale) == (STALE_BATCH, 50 - STALE_BATCH)
    while handler.stale:
        handler.revalidate_some()
    assert kinds(handler) == [Kind.OFFLOAD] * 50
    handler.revalidate([Change()])
    assert kinds(handler) == [], "a change of a switch that is programmed is a change"


def test_150_entries_are_asked_about_and_one_more_are_dropped(handler):
    learn(handler, 150)
    keys = changed_keys(handler)
    handler.switch.answer = OFFLOADED
    handler.revalidate([Change()])
    assert (kinds(handler), handler.revalidations) == ([Kind.OFFLOAD] * 150, 150)
    missed(handler, frame(proto=99))
    handler.handle()
    asked = handler.traces
    handler.revalidate([Change()])
    assert (handler.traces, len(handler.table), handler.cached, handler.revalidations) == (asked, 0, {}, 301)
    assert len(keys) == 150 + 1 + 151


def test_a_new_process_believes_that_its_switch_is_programmed(handler, monkeypatch):
    monkeypatch.setattr(flow_misses, "_RETRACE_MAX", 3)
    learn(handler, 4)
    handler.revalidate_some()
    assert handler.stale == 0
    handler.revalidate([Change()])
    assert handler.cached == {}


def test_a_new_process_goes_on_by_the_entries_of_the_one_before(handler):
    keys = changed_keys(handler)
    learn(handler, 5)
    assert keys == list(handler.cached)
    left = {key: handler.known(key) for key in handler.cached}
    later = Oracle()
    later.switch.answer = SwitchError("the switch is not asked")
    later.restore(left)
    assert later.table.statistics().keys() == handler.table.statistics().keys()
    assert {key: later.known(key) for key in later.cached} == left
    assert later.traces == 0
    assert [cached.in_port for cached in later.cached.values()] == [OFPORT] * 5
    later.datapath.stop()


def test_the_last_entries_are_restored_if_there_are_too_many(handler, monkeypatch):
    learn(handler, 5)
    assert flow_misses._RESTORE_MAX == 20_000
    left = {key: handler.known(key) for key in handler.cached}
    for name, value, kept in (("_RESTORE_MAX", 3, 3), ("_RESTORE_MAX", 9, 5)):
        monkeypatch.setattr(flow_misses, name, value)
        later = Oracle()
        later.restore(left)
        assert list(later.cached) == list(left)[-kept:]
        assert later.cached.keys() == later.table.statistics().keys()
        later.datapath.stop()
    monkeypatch.setattr(FlowTable, "capacity", 2)
    later = Oracle()
    later.restore(left)
    assert list(later.cached) == list(left)[-2:]
    later.datapath.stop()


def test_a_restored_entry_knows_why_it_drops(handler):
    handler.switch.answer = replace(LOCAL_FLOW, out_port=OFPORT + 9)
    learn(handler, 1)
    later = Oracle()
    later.restore({key: handler.known(key) for key in handler.cached})
    assert [cached.dropped for cached in later.cached.values()] == ["vport-down"]
    assert entry(later) == (entries.ACT_DROP, reasons.NAMES.index("vport-down"))
    later.datapath.stop()


@pytest.mark.parametrize("before", [False, True])
def test_when_ports_begin_or_cease_to_matter_the_entry_goes(handler, before):
    """An entry for all ports may not take the answer for one of them, nor the other way round."""
    handler.switch.answer = replace(ROUTED, needs_ports=before)
    missed(handler, frame())
    handler.handle()
    keys = changed_keys(handler)
    (key,) = handler.cached
    assert bool(key[0] & FIVE_TUPLE) is before
    handler.switch.answer = replace(ROUTED, needs_ports=not before, kind=Kind.OFFLOAD)
    handler.revalidate([Change()])
    assert (handler.cached, len(handler.table), keys) == ({}, 0, [key])


@pytest.mark.parametrize(
    "answer",
    [
        replace(ROUTED, cacheable=False),
        replace(SPOOFED, kind=Kind.PUNT),
        replace(LOCAL_FLOW, changed=frozenset({"dl_src", "nw_src"})),
        ValueError("makes no sense"),
    ],
    ids=["rests on what no key holds", "asks the controller", "the switch answers itself", "makes no sense"],
)
def test_an_answer_that_no_entry_can_hold_takes_the_entry_away(handler, answer):
    learn(handler, 2)
    handler.switch.answer = answer
    handler.revalidate([Change()])
    assert (handler.cached, len(handler.table)) == ({}, 0)


def test_only_an_answer_that_changed_is_reported_to_the_owner(handler):
    learn(handler, 3)
    keys, (first, second, third) = changed_keys(handler), handler.cached
    answers = {first: OFFLOADED, second: ROUTED, third: replace(ROUTED, cacheable=False)}
    questions = {handler.known(key)[0]: answer for key, answer in answers.items()}
    handler.switch.answer = questions.__getitem__
    handler.revalidate([Change()])
    assert keys == [third, first]
    assert (handler.known(first)[1], handler.known(second)[1]) == (OFFLOADED, ROUTED)
    assert handler.revalidations == 3


def test_a_change_that_concerns_no_entry_asks_nothing(handler):
    learn(handler, 1)
    asked = handler.traces
    handler.revalidate([Change(vni=8), Change(tun_id=7), Change(in_port=OFPORT + 1)])
    handler.revalidate([])
    assert (handler.traces, handler.revalidations) == (asked, 0)


def test_an_entry_turns_with_its_macs_and_port(handler):
    learn(handler, 1)
    macs = {"dl_src": "02:00:5e:00:00:01", "dl_dst": "06:07:0a:00:00:03"}
    handler.switch.answer = replace(LOCAL_FLOW, headers=macs, changed=frozenset(macs))
    handler.revalidate([Change()])
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)
    handler.switch.answer = replace(LOCAL_FLOW, out_port=OFPORT + 9)
    handler.revalidate([Change()])
    assert [cached.dropped for cached in handler.cached.values()] == ["vport-down"]
    handler.switch.answer = ROUTED
    handler.revalidate([Change()])
    assert entry(handler) == (entries.ACT_TUNNEL, handler.peers.index(REMOTE))
    assert [cached.dropped for cached in handler.cached.values()] == [None]


def test_a_switch_that_is_away_leaves_the_doubtful_ones_in_their_order(handler):
    learn(handler, 40)
    handler.switch.answer = SwitchError("away")
    handler.mark_all_stale()
    handler.datapath.reset_control_eventfd()
    handler.revalidate_some()
    assert handler.stale == 40
    assert not woken(handler), "a switch that is away is not asked again and again"
    handler.switch.answer = OFFLOADED
    handler.revalidate_some()
    assert kinds(handler) == [Kind.OFFLOAD] * STALE_BATCH + [Kind.ROUTE] * (40 - STALE_BATCH)


def test_doubtful_entries_that_went_meanwhile_are_not_asked_about(handler):
    learn(handler, 3)
    handler.mark_all_stale()
    handler.forget(list(handler.cached)[:2])
    asked = handler.traces
    handler.revalidate_some()
    assert (handler.traces - asked, handler.stale) == (1, 0)
    handler.revalidate_some()
    assert handler.traces - asked == 1


LEARNS = replace(ROUTED, kind=Kind.LEARN)


def test_a_way_is_looked_for_when_an_answer_becomes_or_stays_one_to_learn(handler):
    learned = handler.received.wanted_routes
    learn(handler, 1)
    handler.revalidate([Change()])
    assert learned == []
    handler.switch.answer = LEARNS
    handler.revalidate([Change()])
    assert learned == [(7, IPv4Address("10.0.0.3"), REMOTE)]
    revalidate_all(handler)  # the entry may be another process's, which had not learned yet
    assert learned == [(7, IPv4Address("10.0.0.3"), REMOTE)] * 2
