"""Flow misses and changes of the tables, against a switch that says what the test tells it to."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from hoverboard.contract.errors import SwitchError
from hoverboard.contract.pipeline import TUNNEL_PORT, Kind
from hoverboard.fastpath import ring
from hoverboard.fastpath.datapath import Datapath
from hoverboard.fastpath.flowtable import ACT_DROP, ACT_VPORT, FlowTable
from hoverboard.fastpath.layout import (
    E_CHAIN,
    E_SAMPLE,
    E_STAGES,
    HEADROOM,
    INJECT_STAGED,
    META_KIND,
    META_PORT,
    META_TUNNEL,
    MISS_FLOW,
    MISS_STAGED,
    PORT_OFPORT,
    REASONS,
    STAGE_COPROCESSOR,
    STAGE_NEXT,
    STAGE_SAMPLE,
    UPLINK,
    VNET_BYTES,
)
from hoverboard.host import accounts, misses
from hoverboard.host import missed as missed_packets
from hoverboard.host.misses import FlowMisses
from hoverboard.host.peers import Peers
from hoverboard.host.treatment import NOTHING, Treatment
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.ovs import Ovs
from hoverboard.vswitch.trace import Verdict
from tests.unit.hoverboard.packets import array, frame

LOCAL, REMOTE = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2")
PORT, OFPORT = 2, 100
ROUTED = Verdict(Kind.ROUTE, 7, 1, REMOTE, 7, {}, frozenset(), False, True)
SPOOFED = Verdict(Kind.DROP_SPOOFED, 7, None, None, 0, {}, frozenset(), False, True)


class Oracle(FlowMisses):
    """Flow misses whose switch answers from `answer`; raises it if it is an exception."""

    answer: Verdict | Exception = ROUTED

    def _trace(self, question):
        self.traces += 1
        answer = self.answer(question) if callable(self.answer) else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def handler(tmp_path):
    datapath = Datapath()  # not started: its rings stay as they are
    datapath.egress.ports[PORT, PORT_OFPORT] = OFPORT
    table = FlowTable(datapath.memories, datapath.switch_table)
    return Oracle(
        datapath, table, Ovs(tmp_path), LOCAL, Peers(datapath, LOCAL), {OFPORT: PORT, OFPORT + 1: PORT + 1}.get
    )


def missed(handler, data):
    """The engine missed on `data`, which came from the VM."""
    m = handler._datapath.egress
    packet = array(bytes(VNET_BYTES) + data)
    assert ring.push(
        m.miss_index, m.miss_meta, m.miss_data, PORT, HEADROOM - VNET_BYTES, MISS_FLOW, 0, packet, 0, len(packet)
    )
    m.pending[PORT] += 1


def entry(handler):
    """(action, target) of the only entry."""
    ((action, target, *_),) = handler._table.statistics().values()
    return action, target


def test_an_uncacheable_drop_has_its_own_reason_and_no_entry(handler):
    handler.answer = replace(SPOOFED, cacheable=False)
    missed(handler, frame())
    handler.handle()
    assert handler.drops == {"spoofed": 1}
    assert not handler.cached


def test_a_flow_that_is_not_ours_drops_by_a_reason_of_its_own(handler):
    handler.answer = replace(SPOOFED, kind=None)
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (ACT_DROP, REASONS.index("unnamed-flow"))


def test_a_switch_without_program_makes_no_entry_and_changes_none(handler):
    missed(handler, frame())
    handler.handle()
    before = entry(handler)
    handler.answer = replace(SPOOFED, kind=None, matched=False)
    handler.revalidate([Change()])
    assert entry(handler) == before
    missed(handler, frame(proto=99))
    handler.handle()
    assert handler.drops == {"switch-not-programmed": 1}
    assert len(handler.cached) == 1


def test_a_flow_that_is_not_ours_changes_entries(handler):
    missed(handler, frame())
    handler.handle()
    handler.answer = replace(SPOOFED, kind=None)
    handler.revalidate([Change(dst=IPv4Network("10.0.0.3"))])
    assert entry(handler) == (ACT_DROP, REASONS.index("unnamed-flow"))


def carry(handler, packets, octets):
    """The engine counts so much more on the only entry."""
    (row,) = handler._table._rows.values()
    handler._datapath.egress.stats[row] += (packets, octets)


def test_what_went_each_way_stays_apart_when_the_answer_changes(handler):
    offloaded = replace(ROUTED, kind=Kind.OFFLOAD, tun_dst=IPv4Address("172.16.0.9"))
    missed(handler, frame())
    handler.handle()
    for answer, packets in ((offloaded, 3), (ROUTED, 5), (offloaded, 7)):
        carry(handler, packets, 100 * packets)
        handler.answer = answer
        handler.revalidate([Change()])
    carry(handler, 20, 2000)
    rows = accounts.flows(handler._table, handler, {}.get)
    assert [(row["kind"], row["via"], row["now"], row["packets"], row["bytes"]) for row in rows] == [
        ("route", "172.16.0.2", False, 10, 1000),
        ("offload", "172.16.0.9", False, 5, 500),
        ("offload", "172.16.0.9", True, 20, 2000),
    ]
    (usage,) = accounts.usage([(handler._table, handler)])
    assert (usage.packets, usage.bytes) == (35, 3500)


def test_a_switch_that_goes_away_half_way_leaves_no_entry_that_looks_right_and_is_not(handler):
    missed(handler, frame())
    missed(handler, frame(proto=99))
    handler.handle()
    answers = iter([SPOOFED, SwitchError("gone"), SPOOFED, SPOOFED])
    handler.answer = lambda _question: next(answers)
    handler.revalidate([Change()])
    handler.revalidate([Change()])
    assert {action for action, *_ in handler._table.statistics().values()} == {ACT_DROP}


OFFLOADED = replace(ROUTED, kind=Kind.OFFLOAD, tun_dst=IPv4Address("172.16.0.9"))
EMPTY = replace(SPOOFED, kind=None, matched=False)


def learn(handler, count):
    """So many entries, by as many misses."""
    for proto in range(100, 100 + count):
        missed(handler, frame(proto=proto))
    while ring.waiting(handler._datapath.egress.miss_index):
        handler.handle()


def doubt(handler):
    """As the loop does: until the engines' news says that nothing is left."""
    handler.doubt()
    handler.ask_some()
    while handler.doubtful:
        before = handler.doubtful
        handler.ask_some()
        if handler.doubtful == before:
            return


def kinds(handler):
    return [cached.verdict.kind for cached in handler.cached.values()]


def test_what_is_doubted_is_asked_about_again_a_few_at_a_time(handler):
    learn(handler, 50)
    handler.answer = OFFLOADED
    handler.doubt()
    handler.ask_some()
    assert handler.doubtful == 50 - misses._DOUBTS
    handler.ask_some()
    assert handler.doubtful == 0
    assert set(kinds(handler)) == {Kind.OFFLOAD}


def test_a_switch_that_is_away_or_empty_takes_no_entry_away(handler):
    learn(handler, 50)
    for answer in (SwitchError("away"), EMPTY):
        handler.answer = answer
        doubt(handler)
        assert kinds(handler) == [Kind.ROUTE] * 50
    assert handler.doubtful == 0


def test_a_switch_that_gets_its_program_back_makes_no_entry_a_miss_however_many_there_are(handler, monkeypatch):
    monkeypatch.setattr(misses, "_RETRACE_MAX", 10)
    learn(handler, 50)
    handler.answer = EMPTY
    doubt(handler)
    handler.answer = OFFLOADED
    handler.revalidate([Change()])
    while handler.doubtful:
        handler.ask_some()
    assert kinds(handler) == [Kind.OFFLOAD] * 50
    handler.revalidate([Change()])
    assert kinds(handler) == [], "a change of a switch that is programmed is a change"


def test_a_new_process_goes_on_by_the_entries_of_the_one_before(handler, tmp_path):
    told = []
    handler.on_change = told.extend
    learn(handler, 5)
    assert len(told) == 5
    left = {key: handler.known(key) for key in handler.cached}
    datapath = Datapath()
    table = FlowTable(datapath.memories, datapath.switch_table)
    peers = Peers(datapath, LOCAL)
    later = Oracle(datapath, table, Ovs(tmp_path), LOCAL, peers, {OFPORT: PORT}.get)
    later.answer = SwitchError("nobody is asked")
    later.restore(left)
    assert later._table.statistics().keys() == handler._table.statistics().keys()
    assert {key: later.known(key) for key in later.cached} == left
    assert later.traces == 0


def test_a_flood_of_misses_leaves_a_turn_to_others(handler):
    waiting = 60
    for proto in range(100, 100 + waiting):
        missed(handler, frame(proto=proto))
    handler._datapath.clear_news()
    handler.handle()
    assert handler.misses == missed_packets.BURST * misses._BURSTS < waiting
    assert ring.waiting(handler._datapath.egress.miss_index) == waiting - handler.misses
    os.eventfd_read(handler._datapath.news_fd)  # it was set again: the loop comes back
    handler.handle()
    assert handler.misses == waiting


@pytest.mark.parametrize(
    ("in_port", "verdict", "kept"), [(OFPORT, ROUTED, 1), (TUNNEL_PORT, ROUTED, 0), (OFPORT, SPOOFED, 0)]
)
def test_only_what_will_be_reported_is_remembered_of_an_entry_that_goes(handler, in_port, verdict, kept):
    handler.answer = verdict
    missed(handler, frame())
    handler.handle()
    ((key, cached),) = handler.cached.items()
    cached.in_port = in_port
    handler.forget([key])
    assert len(handler.forgotten) == kept


def learnt(handler, protocols):
    """Entries for packets of these protocols, in this order."""
    for proto in protocols:
        missed(handler, frame(proto=proto))
        handler.handle()
    keys = list(handler.cached)
    assert len(handler._table) == len(keys)
    return keys[-len(protocols) :]


def carried(handler, key, packets):
    """The engines have counted packets of an entry."""
    for m in handler._datapath.memories:
        m.stats[handler._table._rows[key]] += (packets, packets * 100)


def test_an_entry_that_carried_nothing_since_the_last_look_ages(handler):
    busy, idle = learnt(handler, [100, 101])
    handler.expire()  # the first look only remembers
    assert len(handler._table) == 2
    carried(handler, busy, 1)
    handler.expire()
    assert list(handler.cached) == [busy]
    assert idle not in handler._table
    assert handler._table.aged == 1
    handler.expire()
    assert not handler.cached
    assert (handler._table.aged, handler._table.evicted) == (2, 0)


def test_a_full_table_evicts_what_carried_least_lately(handler, monkeypatch):
    monkeypatch.setattr(FlowTable, "capacity", 8)
    keys = learnt(handler, range(100, 108))
    for number, key in enumerate(keys):
        carried(handler, key, 100 if number == 3 else 50 - number)
    handler.expire()
    for key in keys:
        carried(handler, key, 1 if key == keys[3] else 5)  # the third was the busiest once, and is not any more
    (new,) = learnt(handler, [120])
    assert keys[3] not in handler._table
    assert new in handler._table
    assert len(handler._table) == 8
    assert (handler._table.aged, handler._table.evicted) == (0, 1)
    assert handler.forgotten[-1][1:] == (202, 20_200), "what an evicted entry had carried is still reported"


def words(handler):
    """(stages, chain, one packet in how many is sampled) of the only entry."""
    ((row),) = handler._table._rows.values()
    return tuple(int(word) for word in handler._datapath.egress.entries[row, [E_STAGES, E_CHAIN, E_SAMPLE]])


def test_an_entry_carries_the_stages_that_were_decided_at_the_miss(handler):
    asked = []
    handler._recipes.treatment_of = lambda *facts: asked.append(facts) or Treatment(7, True)
    missed(handler, frame())
    handler.handle()
    assert asked == [("egress", OFPORT, IPv4Address("10.0.0.3"), 7, REMOTE)]
    assert words(handler) == (STAGE_COPROCESSOR, 7, 0)


def test_a_flow_without_stages_goes_nowhere_else(handler):
    handler._recipes.treatment_of = lambda *_facts: NOTHING
    missed(handler, frame())
    handler.handle()
    assert words(handler) == (0, 0, 0)


def test_what_a_tunnel_brings_is_the_receivers_and_comes_back_staged(handler):
    asked = []
    handler._recipes.treatment_of = lambda *facts: asked.append(facts) or Treatment(0, True)
    handler.answer = replace(ROUTED, out_port=OFPORT, tun_dst=None)
    m, tunnel = handler._datapath.ingress, int(REMOTE) << 32 | 7
    tunnel -= 1 << 64 if tunnel >> 63 else 0
    packet = array(bytes(VNET_BYTES) + frame())
    for done in range(2):
        assert ring.push(
            m.miss_index, m.miss_meta, m.miss_data, UPLINK, HEADROOM - VNET_BYTES, MISS_STAGED + done, tunnel,
            packet, 0, len(packet),
        )  # fmt: skip
    handler.handle()
    assert asked == [("ingress", OFPORT, IPv4Address("10.0.0.2"), 7, REMOTE)]
    assert words(handler) == (STAGE_COPROCESSOR, 0, 0)
    back = m.inject_meta[: int(ring.waiting(m.inject_index))]
    assert back[:, META_KIND].tolist() == [INJECT_STAGED, INJECT_STAGED + 1]
    assert back[:, META_TUNNEL].tolist() == [tunnel, tunnel]
    assert back[:, META_PORT].tolist() == [UPLINK, UPLINK]


LOCAL_FLOW = replace(ROUTED, out_port=OFPORT + 1, tun_dst=None, tun_id=0, vni=7)


def test_between_two_vms_of_a_host_the_receiver_is_asked_too(handler):
    asked = []
    parts = {"egress": Treatment(3, True, 8), "ingress": Treatment(40_000, False, 16)}
    handler._recipes.treatment_of = lambda *facts: asked.append(facts) or parts[facts[0]]
    handler.answer = LOCAL_FLOW
    missed(handler, frame())
    handler.handle()
    assert asked == [
        ("egress", OFPORT, IPv4Address("10.0.0.3"), 7, None),
        ("ingress", OFPORT + 1, IPv4Address("10.0.0.2"), 7, None),
    ]
    stages = STAGE_COPROCESSOR | STAGE_SAMPLE | STAGE_SAMPLE << STAGE_NEXT
    assert words(handler) == (stages, (3 | 40_000 << 16) - (1 << 32), 8 | 16 << 16)


def test_a_blocked_source_is_dropped_by_its_entries_and_nobody_is_traced_again(handler):
    blocked = set()
    handler._recipes.treatment_of = lambda direction, ofport, remote, _vni, _peer: (
        Treatment(drop="dos-blocked") if direction == "ingress" and (ofport, remote) in blocked else NOTHING
    )
    handler.answer = LOCAL_FLOW
    missed(handler, frame())
    handler.handle()
    (key,) = handler.cached
    handler._datapath.egress.stats[handler._table._rows[key]] = 5, 500
    traces = handler.traces
    flow = (OFPORT + 1, IPv4Address("10.0.0.2"))
    assert entry(handler) == (ACT_VPORT, PORT + 1)
    blocked.add(flow)
    handler.treat_anew({flow, (OFPORT, IPv4Address("10.0.0.2"))})
    assert entry(handler) == (ACT_DROP, REASONS.index("dos-blocked"))
    rows = accounts.flows(handler._table, handler, lambda target: "vm" if target == PORT + 1 else None)
    assert [(row["kind"], row["via"], row["now"], row["packets"]) for row in rows] == [
        (rows[0]["kind"], "vm", False, 5), ("drop-dos-blocked", None, True, 0),
    ]  # fmt: skip
    blocked.clear()
    handler.treat_anew({flow})
    assert entry(handler) == (ACT_VPORT, PORT + 1)
    handler.treat_anew({(OFPORT + 1, IPv4Address("10.9.9.9"))})
    assert entry(handler) == (ACT_VPORT, PORT + 1)
    assert handler.traces == traces
