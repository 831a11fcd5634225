"""Flow misses, against a switch with answers that the test sets."""

from __future__ import annotations

import os
import select
from dataclasses import replace
from ipaddress import IPv4Address, ip_network

import pytest

from hoverboard.contract.encapsulation import PROBE_REQUEST_TYPE
from hoverboard.contract.errors import SwitchError
from hoverboard.contract.openflow.pipeline import TUNNEL_PORT, Kind
from hoverboard.fastpath.memory import entries, packets, ports, reasons, rings
from hoverboard.fastpath.packets import geneve, ring
from hoverboard.fastpath.packets.parse import FIVE_TUPLE
from hoverboard.host.underlay.peers import probe, read_probe
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.trace import parse_trace
from tests.unit.hoverboard.flow_miss_oracle import (
    LOCAL,
    LOCAL_FLOW,
    OFPORT,
    PORT,
    REMOTE,
    ROUTED,
    SPOOFED,
    entry,
    from_fabric,
    injected,
    missed,
)
from tests.unit.hoverboard.packets import ARP, ICMP, UDP, Ether, Raw, frame
from tests.unit.hoverboard.vswitch.test_vswitch import DELIVER, RELAY

TO = IPv4Address("10.0.0.3")


def quiet(handler):
    """Whether the loop may sleep."""
    return not select.select([handler.datapath.control_eventfd], [], [], 0)[0]


def test_an_uncacheable_drop_has_its_own_reason_and_no_entry(handler):
    handler.switch.answer = replace(SPOOFED, cacheable=False)
    missed(handler, frame())
    handler.handle()
    assert handler.drops.by_reason == {"spoofed": 1}
    assert not handler.cached


def test_a_flow_that_is_not_ours_drops_by_a_reason_of_its_own(handler):
    handler.switch.answer = replace(SPOOFED, kind=None)
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("unnamed-flow"))


def test_a_drop_of_the_switch_is_an_entry_by_its_reason(handler):
    handler.switch.answer = SPOOFED
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("spoofed"))
    assert [cached.dropped for cached in handler.cached.values()] == [None], "this host adds nothing to it"


def test_a_flood_of_misses_leaves_a_turn_to_others(handler):
    waiting = 60
    for proto in range(100, 100 + waiting):
        missed(handler, frame(proto=proto))
    handler.datapath.reset_control_eventfd()
    handler.handle()
    assert handler.misses == 32 < waiting
    assert ring.waiting(handler.datapath.egress.miss_index) == waiting - handler.misses
    os.eventfd_read(handler.datapath.control_eventfd)  # it was set again: the loop comes back
    handler.handle()
    assert handler.misses == waiting


def test_the_switch_is_asked_about_the_packet_and_its_answer_becomes_the_entry(handler):
    handler.switch.answer = parse_trace(DELIVER)
    missed(handler, frame(ICMP(type=8)))
    handler.handle()
    headers = "dl_src=06:07:0a:00:00:02,dl_dst=02:00:5e:00:00:01,ip,nw_proto=1,nw_src=10.0.0.2,nw_dst=10.0.0.3"
    question = f"in_port={OFPORT},{headers},nw_ecn=0,nw_ttl=64,icmp_type=8,icmp_code=0"
    assert handler.switch.asked == [question]
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)
    ((key, cached),) = handler.cached.items()
    assert key[0] & FIVE_TUPLE, "the decision rests on the ICMP type"
    assert handler.known(key) == (question, cached.verdict)
    assert (cached.in_port, cached.src, cached.dst, cached.proto) == (OFPORT, IPv4Address("10.0.0.2"), TO, 1)
    assert (cached.verdict.kind, cached.dropped) == (Kind.LOCAL, None)
    (row,) = handler.table._rows.values()
    m = handler.datapath.egress
    assert [hex(word) for word in m.macs[m.entries[row, entries.MACS]]] == ["0x6070a000003", "0x2005e000001"]
    assert handler.traces == handler.misses == 1
    assert handler.known((0,) * len(key)) is None


def test_an_answer_that_makes_no_sense_costs_its_packet_alone(handler):
    missed(handler, frame(ICMP(type=8)))
    missed(handler, frame(proto=99))
    answers = iter([DELIVER, "Bad openflow flow syntax"])
    handler.switch.answer = lambda _question: parse_trace(next(answers))
    handler.handle()
    assert handler.drops.by_reason == {"switch-not-programmed": 1}
    assert handler.cached.keys() == handler.table.statistics().keys()
    assert len(handler.cached) == 1


def test_a_flow_that_sends_through_the_tunnel_to_no_host_makes_no_entry(handler):
    nowhere = RELAY.replace("set_field:172.16.0.2->tun_dst", "").replace("tun_dst=172.16.0.2,", "")
    handler.switch.answer = lambda _question: parse_trace(nowhere)
    missed(handler, frame(proto=99))
    handler.handle()
    assert handler.drops.by_reason == {"switch-not-programmed": 1}
    assert not handler.cached


def test_an_entry_into_the_tunnel_leads_to_its_peer_with_the_outer_headers(handler):
    handler.peers.index(IPv4Address("172.16.0.77"))
    handler.switch.answer = replace(ROUTED, tun_id=9)
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (entries.ACT_TUNNEL, 2) == (entries.ACT_TUNNEL, handler.peers.index(REMOTE))
    template, checksum = geneve.template(LOCAL, REMOTE, 9)
    m = handler.datapath.egress
    (row,) = handler.table._rows.values()
    assert m.headers[m.entries[row, entries.HEADER], : len(template)].tobytes() == template
    assert m.entries[row, entries.SUM] == checksum
    assert m.entries[row, entries.MACS] == 0, "MACs stay as they are"
    assert m.entries[row, [entries.ACTION, entries.TARGET]].tolist() == [entries.ACT_TUNNEL, 2]


def test_a_vport_that_is_not_plugged_in_drops_and_the_entry_says_why(handler):
    handler.switch.answer = replace(LOCAL_FLOW, out_port=OFPORT + 9)
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("vport-down"))
    assert [cached.dropped for cached in handler.cached.values()] == ["vport-down"]


def test_a_packet_goes_back_once_its_entry_is_there_and_its_owner_knows(handler):
    changed, order = handler.received.changed, []
    inject = handler.datapath.inject

    def watch(*packet):
        order.append((len(handler.table), len(changed)))
        return inject(*packet)

    handler.datapath.inject = watch
    missed(handler, frame())
    missed(handler, frame(proto=99))
    handler.handle()
    assert order[-2:] == [(2, 2), (2, 2)]
    assert changed == list(handler.cached)
    whole = [(PORT, rings.INJECT_PROCESS, 0, bytes(packets.VNET_BYTES) + data) for data in (frame(), frame(proto=99))]
    assert injected(handler) == whole
    assert handler.misses == 2


@pytest.mark.parametrize("needs_ports", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_a_flow_is_asked_about_once_however_many_of_its_packets_missed(handler, needs_ports, together):
    handler.switch.answer = replace(ROUTED, needs_ports=needs_ports)
    for _ in range(3):
        missed(handler, frame())
        if not together:
            handler.handle()
    handler.handle()
    assert (handler.misses, handler.traces, len(handler.cached)) == (3, 1, 1)
    assert len(injected(handler)) == 3, "all of them go on"
    missed(handler, frame(UDP(sport=1000, dport=2001)))
    handler.handle()
    assert handler.traces == (2 if needs_ports else 1)


def test_a_packet_that_finds_no_room_in_front_of_the_engine_is_counted(handler):
    missed(handler, frame())
    handler.handle()
    handler.datapath.inject = lambda *_packet: False
    for _ in range(2):
        missed(handler, frame())
    handler.handle()
    assert handler.drops.by_reason == {"miss-queue-full": 2}


def test_a_malformed_packet_is_counted_and_not_asked_about(handler):
    missed(handler, frame()[:20])
    handler.handle()
    assert handler.drops.by_reason == {"malformed-ipv4": 1}
    assert (handler.misses, handler.traces, injected(handler)) == (1, 0, [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (SwitchError("away"), "switch-not-programmed"),
        (replace(SPOOFED, kind=None, matched=False), "switch-not-programmed"),
        (replace(SPOOFED, kind=Kind.DROP_UNKNOWN_PORT), "unknown-port"),
        (replace(ROUTED, cacheable=False), "uncacheable"),
    ],
)
def test_what_makes_no_entry_is_dropped_by_name_and_asked_about_again(handler, answer, reason):
    handler.switch.answer = answer
    for _ in range(2):
        missed(handler, frame())
        handler.handle()
    assert handler.drops.by_reason == {reason: 2}
    assert (handler.traces, len(handler.table), handler.cached, injected(handler)) == (2, 0, {}, [])


def test_frames_of_the_fabric_for_the_host_itself_go_to_the_peers(handler):
    missed(handler, probe(REMOTE, LOCAL, PROBE_REQUEST_TYPE), ports.UPLINK, rings.MISS_CONTROL)
    missed(handler, frame())
    handler.handle()
    assert handler.peers.known() == {REMOTE: True}
    assert (handler.misses, handler.traces) == (1, 1), "the flow behind it is answered all the same"
    port, kind, _tunnel, answer = injected(handler, ports.UPLINK, raw=True)[-1]
    assert (port, kind, read_probe(answer[packets.VNET_BYTES :])[0]) == (ports.UPLINK, rings.INJECT_RAW, LOCAL)


def test_what_a_tunnel_brings_is_asked_about_with_its_tunnel(handler):
    handler.switch.answer = LOCAL_FLOW
    missed(handler, from_fabric(frame()), ports.UPLINK)
    handler.handle()
    (question,) = handler.switch.asked
    assert question.startswith(f"in_port={TUNNEL_PORT},tun_id=0x7,tun_src={REMOTE},tun_dst={LOCAL},dl_src=")
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)


ANSWERED = {"dl_src": "02:00:5e:00:00:01", "dl_dst": "06:07:0a:00:00:02", "nw_src": "10.0.0.1", "nw_dst": "10.0.0.2"}
PONG = replace(
    LOCAL_FLOW, out_port=OFPORT, headers={**ANSWERED, "icmp_type": "0"}, changed=frozenset({"dl_src", "nw_src"})
)


def test_the_switch_itself_answers_a_ping(handler):
    handler.switch.answer = PONG
    missed(handler, frame(ICMP(type=8, seq=5) / Raw(b"ping"), dst="02:00:5e:00:00:01"))
    handler.handle()
    ((port, kind, _tunnel, answer),) = injected(handler, raw=True)
    assert (port, kind, answer[: packets.VNET_BYTES]) == (PORT, rings.INJECT_RAW, bytes(packets.VNET_BYTES))
    packet = Ether(answer[packets.VNET_BYTES :])
    assert (packet.src, packet[ICMP].type, packet[ICMP].seq, packet[Raw].load) == (ANSWERED["dl_src"], 0, 5, b"ping")
    assert (handler.drops.by_reason, handler.cached, injected(handler)) == ({}, {}, [])


@pytest.mark.parametrize(
    ("data", "port", "out_port"),
    [
        (frame(ICMP(type=8)), PORT, None),
        (frame(ICMP(type=8)), PORT, OFPORT + 9),
        (frame(UDP()), PORT, OFPORT),
    ],
    ids=["to nowhere", "to a vport that is not here", "a kind of packet that cannot be written"],
)
def test_an_answer_that_cannot_be_given_is_dropped_by_name(handler, data, port, out_port):
    handler.switch.answer = replace(PONG, out_port=out_port)
    missed(handler, data, port)
    handler.handle()
    assert handler.drops.by_reason == {"uncacheable": 1}
    assert not injected(handler, raw=True)


def test_what_the_fabric_brings_is_never_answered_by_the_switch_itself(handler):
    handler.switch.answer = PONG
    missed(handler, from_fabric(frame(ICMP(type=8))), ports.UPLINK)
    handler.handle()
    assert handler.drops.by_reason == {"uncacheable": 1}
    assert not injected(handler, raw=True)


def test_a_new_mac_alone_is_an_entry(handler):
    handler.switch.answer = replace(LOCAL_FLOW, headers=ANSWERED, changed=frozenset({"dl_src", "dl_dst"}))
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)


PUNTED = replace(SPOOFED, kind=Kind.PUNT)


def test_a_packet_that_asks_the_controller_waits_and_goes_on_with_the_answer(handler):
    handler.switch.answer = PUNTED
    missed(handler, frame())
    handler.handle()
    assert handler.switch.looked_up == [(OFPORT, frame())]
    assert (handler.drops.by_reason, injected(handler), handler.cached) == ({}, [], {})
    handler.switch.answer = ROUTED
    handler.revalidate([Change(vni=8, dst=ip_network(TO))])
    assert injected(handler) == []
    handler.revalidate([Change(vni=7, dst=ip_network(TO))])
    assert injected(handler) == [(PORT, rings.INJECT_PROCESS, 0, bytes(packets.VNET_BYTES) + frame())]


def test_a_packet_that_the_switch_does_not_take_is_dropped(handler):
    handler.switch.answer, handler.switch.takes = PUNTED, False
    missed(handler, frame())
    handler.handle()
    assert (handler.drops.by_reason, handler.cached, len(handler.punts)) == ({"switch-not-programmed": 1}, {}, 0)


def test_what_has_no_address_to_ask_about_is_dropped(handler):
    handler.switch.answer = PUNTED
    missed(handler, bytes(Ether(src="06:07:0a:00:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP()))
    handler.handle()
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("unnamed-flow"))
    assert len(handler.punts) == 0


LEARNS = replace(ROUTED, kind=Kind.LEARN)


@pytest.mark.parametrize(
    ("answer", "data", "asked"),
    [
        (LEARNS, frame(), [(7, TO, REMOTE)]),
        (ROUTED, frame(), []),
        (LEARNS, bytes(Ether(src="06:07:0a:00:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP()), []),
        (replace(LEARNS, out_port=OFPORT + 1, tun_dst=None), frame(), []),
    ],
    ids=["a default route that says learn", "another route", "no address", "no gateway"],
)
def test_a_way_is_looked_for_where_the_route_says_so(handler, answer, data, asked):
    handler.switch.answer = answer
    missed(handler, data)
    handler.handle()
    assert handler.received.wanted_routes == asked


def test_a_host_that_does_not_learn_goes_by_the_gateway(handler):
    handler.switch.answer = LEARNS
    missed(handler, frame())
    handler.handle()
    assert entry(handler)[0] == entries.ACT_TUNNEL


def test_the_loop_may_sleep_once_all_is_answered(handler):
    missed(handler, frame())
    handler.datapath.reset_control_eventfd()
    handler.handle()
    assert quiet(handler)
