"""Open vSwitch's own words, as recorded from version 3.1.0, and what we read in them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.vswitch.counters import parse_drops, parse_ports
from hoverboard.vswitch.megaflows import parse_megaflows
from hoverboard.vswitch.monitor import Change, parse_event
from hoverboard.vswitch.ovs import openflow_port
from hoverboard.vswitch.trace import parse_trace

RECORDED = Path(__file__).parent / "recorded"
RELAY, DROP, DELIVER = ((RECORDED / f"{name}.trace").read_text() for name in ("relay", "drop", "deliver"))


def test_relay_through_the_tunnel():
    verdict = parse_trace(RELAY)
    assert (verdict.kind, verdict.vni, verdict.out_port) == (Kind.RELAY, 7, 1)
    assert (verdict.tun_dst, verdict.tun_id) == (IPv4Address("172.16.0.2"), 7)
    assert verdict.changed == frozenset()
    assert verdict.cacheable
    assert not verdict.needs_ports


def test_drop_has_the_reason_of_its_flow():
    verdict = parse_trace(DROP)
    assert (verdict.kind, verdict.out_port, verdict.tun_dst) == (Kind.DROP_SPOOFED, None, None)


def test_delivery_rewrites_macs_and_may_rest_on_ports():
    verdict = parse_trace(DELIVER)
    assert (verdict.kind, verdict.out_port) == (Kind.LOCAL, 101)
    assert verdict.changed == {"dl_src", "dl_dst"}
    assert verdict.needs_ports
    assert verdict.cacheable


def test_a_decision_on_what_no_key_holds_is_not_cached():
    assert not parse_trace(DROP.replace("nw_frag=no", "nw_frag=no,nw_ttl=64")).cacheable


_DROPPING = "in_port=100, priority 100, cookie 0x102000007000000"


def test_an_empty_switch_matches_nothing():
    verdict = parse_trace(DROP.replace(_DROPPING, "No match."))
    assert (verdict.kind, verdict.matched) == (None, False)


def test_a_flow_without_our_cookie_still_decides():
    verdict = parse_trace(DROP.replace(_DROPPING, "in_port=100, priority 500"))
    assert (verdict.kind, verdict.matched, verdict.out_port) == (None, True, None)


def test_a_drop_of_ipv6_fits_a_key_and_one_of_an_arp_message_does_not():
    assert parse_trace(DROP.replace("eth,ip,in_port", "eth,ipv6,in_port")).cacheable
    assert not parse_trace(DROP.replace("eth,ip,in_port=100", "eth,arp,in_port=100,arp_tpa=10.0.0.9")).cacheable


def test_no_verdict_is_an_error():
    with pytest.raises(ValueError, match="no result"):
        parse_trace("Bad openflow flow syntax")


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (
            " event=ADDED table=30 cookie=0x7 ip,metadata=0x7,nw_src=10.0.0.2,nw_dst=10.0.0.3 actions=output:1",
            Change(None, 7, IPv4Network("10.0.0.2"), IPv4Network("10.0.0.3")),
        ),
        (" event=DELETED reason=delete table=0 cookie=0x1 in_port=100", Change(100)),
        (" event=MODIFIED table=10 cookie=0 tun_id=0x9", Change(tun_id=9)),
        (
            " event=ADDED table=40 cookie=0 metadata=0x7,nw_dst=10.0.0.0/24",
            Change(None, 7, None, IPv4Network("10.0.0.0/24")),
        ),
        (" event=ADDED table=0 cookie=0", Change()),
        ("OFPST_FLOW_MONITOR reply (OF1.4) (xid=0x0):", None),
        ("", None),
    ],
)  # fmt: skip
def test_monitor_events(line, change):
    assert parse_event(line) == change


def test_megaflows_of_both_datapaths():
    push, delivered, kernel = parse_megaflows((RECORDED / "megaflows.txt").read_text())
    assert (push.vni, push.from_tunnel, push.peer, push.packets, push.bytes) == (
        7, False, IPv4Address("172.16.0.2"), 120, 98000,
    )  # fmt: skip
    assert (delivered.vni, delivered.from_tunnel, delivered.port, delivered.proto) == (7, True, 4, 6)
    assert (kernel.vni, kernel.peer, kernel.port) == (8, IPv4Address("172.16.0.3"), None)


IPV4 = "eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.3{},frag=no)"
COUNTS = " packets:3, bytes:400, used:0.1s, actions:"


def test_each_megaflow_is_read_by_itself():
    tunnel = "tunnel(tun_id=0x{},src=172.16.0.2,dst=172.16.0.1,flags(-df-csum+key)),"
    lines = [
        tunnel.format("1f") + IPV4.format("") + "," + COUNTS + "5",
        "in_port(4)," + IPV4.format(",proto=17") + "," + COUNTS + "6",
        tunnel.format("8") + IPV4.format("/255.255.255.254,proto=6") + "," + COUNTS + "drop",
        tunnel.format("8") + IPV4.format("") + "," + COUNTS + "set(tunnel(tun_id=0x9,dst=172.16.0.3,flags(df|key))),3",
        IPV4.format("") + ",",
        "in_port(4),eth_type(0x0806)," + COUNTS + "5",
        "in_port(2)," + IPV4.format("") + "," + COUNTS + "tnl_pop(6)",
    ]
    local = {"src": IPv4Address("10.0.0.2"), "dst": IPv4Address("10.0.0.3"), "packets": 3, "bytes": 400}
    assert [
        (flow.vni, flow.from_tunnel, flow.proto, flow.peer, flow.port) for flow in parse_megaflows("\n".join(lines))
    ] == [
        (0x1F, True, None, None, 5),
        (None, False, 17, None, 6),
        (8, True, 6, None, None),
        (9, True, None, IPv4Address("172.16.0.3"), None),
    ]
    for flow, line in zip(parse_megaflows("\n".join(lines)), lines, strict=False):
        assert {name: getattr(flow, name) for name in local} == local
        assert flow.match == line.partition("packets:")[0]


def test_counters():
    flows = [
        " cookie=0x101000000000000, duration=1s, table=0, n_packets=3, n_bytes=9, priority=0 actions=drop",
        " cookie=0x7, duration=1s, table=0, n_packets=5, priority=1 actions=drop",
    ]
    assert parse_drops("\n".join(flows)) == {0x101 << 48: 3}
    ports = [
        "  port 1: rx pkts=10, bytes=100, drop=0",
        "           tx pkts=2, bytes=20, drop=0",
        "  port 2: rx pkts=1, bytes=5, drop=?",
        "           tx pkts=1, bytes=1",
    ]
    assert parse_ports("\n".join(ports)) == {"rx_packets": 11, "rx_bytes": 105, "tx_packets": 3, "tx_bytes": 21}


def test_openflow_port():
    shown = "  br-int:\n    gnv 1/6: (geneve)\n    vp10 110/3: (tap)\n    vp100 100/2: (tap)\n"
    assert openflow_port(shown, "vp100") == 100
    assert openflow_port(shown, "vp10") == 110
    assert openflow_port(shown, "p100") is None
