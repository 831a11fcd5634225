"""Stages of flow-table entries, as they are decided at the miss and afterwards."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from hoverboard.fastpath.memory import entries, packets, ports, reasons, rings
from hoverboard.fastpath.packets import ring
from hoverboard.host.coprocessing.flow_stages import NO_STAGES, FlowStages
from hoverboard.host.telemetry import usage
from tests.unit.hoverboard.flow_miss_oracle import LOCAL_FLOW, OFPORT, PORT, REMOTE, ROUTED, entry, from_fabric, missed
from tests.unit.hoverboard.packets import ARP, Ether, array, frame


def words(handler):
    """(stages, chain, one packet in how many is sampled) of the only entry."""
    ((row),) = handler.table._rows.values()
    return tuple(
        int(word) for word in handler.datapath.egress.entries[row, [entries.STAGES, entries.CHAIN, entries.SAMPLE]]
    )


def test_an_entry_carries_the_stages_that_were_decided_at_the_miss(handler):
    asked = []
    handler.stages_of = lambda *facts: asked.append(facts) or FlowStages(7, True)
    missed(handler, frame())
    handler.handle()
    assert asked == [("egress", OFPORT, IPv4Address("10.0.0.3"), 7, REMOTE)]
    assert words(handler) == (entries.STAGE_COPROCESSOR, 7, 0)


def test_a_flow_without_stages_goes_nowhere_else(handler):
    handler.stages_of = lambda *_facts: NO_STAGES
    missed(handler, frame())
    handler.handle()
    assert words(handler) == (0, 0, 0)


def test_what_a_tunnel_brings_is_the_receivers_and_comes_back_staged(handler):
    asked = []
    handler.stages_of = lambda *facts: asked.append(facts) or FlowStages(0, True)
    handler.switch.answer = replace(ROUTED, out_port=OFPORT, tun_dst=None)
    m, tunnel = handler.datapath.ingress, int(REMOTE) << 32 | 7
    tunnel -= 1 << 64 if tunnel >> 63 else 0
    packet = array(bytes(packets.VNET_BYTES) + frame())
    for done in range(2):
        assert ring.push(
            m.miss_index,
            m.miss_meta,
            m.miss_data,
            ports.UPLINK,
            packets.HEADROOM - packets.VNET_BYTES,
            rings.MISS_STAGED + done,
            tunnel,
            packet,
            0,
            len(packet),
        )
    handler.handle()
    assert asked == [("ingress", OFPORT, IPv4Address("10.0.0.2"), 7, REMOTE)]
    assert words(handler) == (entries.STAGE_COPROCESSOR, 0, 0)
    back = m.inject_meta[: int(ring.waiting(m.inject_index))]
    assert back[:, rings.KIND].tolist() == [rings.INJECT_STAGED, rings.INJECT_STAGED + 1]
    assert back[:, rings.TUNNEL].tolist() == [tunnel, tunnel]
    assert back[:, rings.PORT].tolist() == [ports.UPLINK, ports.UPLINK]


def test_between_two_vms_of_a_host_the_receiver_is_asked_too(handler):
    asked = []
    parts = {"egress": FlowStages(3, True, 8), "ingress": FlowStages(40_000, False, 16)}
    handler.stages_of = lambda *facts: asked.append(facts) or parts[facts[0]]
    handler.switch.answer = LOCAL_FLOW
    missed(handler, frame())
    handler.handle()
    assert asked == [
        ("egress", OFPORT, IPv4Address("10.0.0.3"), 7, None),
        ("ingress", OFPORT + 1, IPv4Address("10.0.0.2"), 7, None),
    ]
    stages = entries.STAGE_COPROCESSOR | entries.STAGE_SAMPLE | entries.STAGE_SAMPLE << entries.STAGE_NEXT
    assert words(handler) == (stages, (3 | 40_000 << 16) - (1 << 32), 8 | 16 << 16)


def test_a_blocked_source_is_dropped_by_its_entries_without_a_new_trace(handler):
    blocked = set()
    handler.stages_of = lambda direction, ofport, remote, _vni, _peer: (
        FlowStages(drop="dos-blocked") if direction == "ingress" and (ofport, remote) in blocked else NO_STAGES
    )
    handler.switch.answer = LOCAL_FLOW
    missed(handler, frame())
    handler.handle()
    (key,) = handler.cached
    handler.datapath.egress.stats[handler.table._rows[key]] = 5, 500
    traces = handler.traces
    flow = (OFPORT + 1, IPv4Address("10.0.0.2"))
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)
    blocked.add(flow)
    handler.reapply_stages({flow, (OFPORT, IPv4Address("10.0.0.2"))})
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("dos-blocked"))
    rows = usage.flows(handler.table, handler, lambda target: "vm" if target == PORT + 1 else None, {}.get)
    assert [(row["kind"], row["via"], row["now"], row["packets"]) for row in rows] == [
        (rows[0]["kind"], "vm", False, 5), ("drop-dos-blocked", None, True, 0),
    ]  # fmt: skip
    blocked.clear()
    handler.reapply_stages({flow})
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)
    handler.reapply_stages({(OFPORT + 1, IPv4Address("10.9.9.9"))})
    assert entry(handler) == (entries.ACT_VPORT, PORT + 1)
    assert handler.traces == traces


def test_a_blocked_source_has_no_entry_to_begin_with(handler):
    handler.stages_of = lambda direction, *_facts: (
        FlowStages(drop="dos-blocked") if direction == "ingress" else FlowStages(3, True)
    )
    handler.switch.answer = LOCAL_FLOW
    missed(handler, frame())
    handler.handle()
    assert entry(handler) == (entries.ACT_DROP, reasons.NAMES.index("dos-blocked"))
    assert [cached.dropped for cached in handler.cached.values()] == ["dos-blocked"]


def test_what_a_hoverboard_relays_has_no_stages(handler):
    asked = []
    handler.stages_of = lambda *facts: asked.append(facts) or FlowStages(3, True)
    missed(handler, from_fabric(frame()), ports.UPLINK)
    handler.handle()
    assert entry(handler)[0] == entries.ACT_TUNNEL
    assert (asked, words(handler)) == ([], (0, 0, 0))


def test_what_is_not_ip_has_no_stages(handler):
    handler.stages_of = lambda *_facts: FlowStages(3, True)
    handler.switch.answer = LOCAL_FLOW
    missed(handler, bytes(Ether(src="06:07:0a:00:00:02", dst="ff:ff:ff:ff:ff:ff") / ARP()))
    handler.handle()
    assert words(handler) == (0, 0, 0)


def test_a_change_of_treatment_keeps_what_the_entry_carried(handler):
    handler.stages_of = lambda *_facts: NO_STAGES
    handler.switch.answer = LOCAL_FLOW
    missed(handler, frame())
    handler.handle()
    (key,) = handler.cached
    handler.datapath.egress.stats[handler.table._rows[key]] = 5, 500
    handler.stages_of = lambda *_facts: FlowStages(drop="dos-blocked")
    handler.reapply_stages({(OFPORT + 1, IPv4Address("10.0.0.2"))})
    handler.datapath.egress.stats[handler.table._rows[key]] = 2, 200
    assert handler.table.counted(key) == (7, 700)
    (earlier,) = handler.cached[key].earlier
    assert (earlier.packets, earlier.bytes, earlier.target, earlier.dropped) == (5, 500, PORT + 1, None)
