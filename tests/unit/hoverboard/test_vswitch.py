"""Open vSwitch's own words, as recorded from version 3.1.0, and what we read in them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from hoverboard.contract.pipeline import Kind
from hoverboard.vswitch.counters import parse_drops, parse_ports
from hoverboard.vswitch.megaflows import parse_megaflows
from hoverboard.vswitch.monitor import Change, parse_event
from hoverboard.vswitch.trace import parse_trace

HEAD = "Flow: icmp,tun_src=172.16.0.1,tun_dst=172.16.255.1,in_port=1,dl_src=06:07:0a:00:00:02,dl_dst=02:00:5e:00:00:01,nw_src=10.0.0.2,nw_dst=10.0.0.3,nw_ttl=64,icmp_type=8,icmp_code=0\n"  # fmt: skip
RELAY = (
    HEAD
    + """
bridge("br-int")
----------------
 0. in_port=1, priority 100, cookie 0x1000000000000
    goto_table:10
10. tun_id=0x7, priority 300, cookie 0x1000007000000
    write_metadata:0x7
    goto_table:50
50. ip,metadata=0x7,nw_dst=10.0.0.3, priority 300, cookie 0x9000007000000
    move:NXM_OF_IP_DST[]->NXM_NX_REG5[]
     -> NXM_NX_REG5[] is now 0xa000003
    set_field:0x7->tun_id
    set_field:172.16.0.2->tun_dst
    IN_PORT
     -> output to native tunnel
     >> native tunnel routing failed

Final flow: icmp,reg5=0xa000003,tun_src=172.16.0.1,tun_dst=172.16.0.2,metadata=0x7,in_port=1,dl_src=06:07:0a:00:00:02,dl_dst=02:00:5e:00:00:01,nw_src=10.0.0.2,nw_dst=10.0.0.3,nw_ttl=64,icmp_type=8,icmp_code=0
Megaflow: recirc_id=0,eth,ip,tun_id=0x7,tun_src=172.16.0.1,tun_dst=172.16.255.1,tun_tos=0,tun_flags=-df-csum-key,in_port=1,nw_dst=10.0.0.3,nw_ecn=0,nw_frag=no
Datapath actions: drop
"""
)
DROP = (
    HEAD
    + """
bridge("br-int")
----------------
 0. in_port=100, priority 100, cookie 0x102000007000000
    drop

Final flow: unchanged
Megaflow: recirc_id=0,eth,ip,in_port=100,nw_frag=no
Datapath actions: drop
"""
)
DELIVER = (
    HEAD
    + """
 0. in_port=1, priority 100, cookie 0x1000000000000
    goto_table:10
40. ip,metadata=0x7,nw_dst=10.0.0.3, priority 300, cookie 0x5000007000000
    set_field:06:07:0a:00:00:03->eth_dst
    output:101

Final flow: icmp,tun_src=172.16.0.1,tun_dst=172.16.255.1,in_port=1,dl_src=02:00:5e:00:00:01,dl_dst=06:07:0a:00:00:03,nw_src=10.0.0.2,nw_dst=10.0.0.3,nw_ttl=64,icmp_type=8,icmp_code=0
Megaflow: recirc_id=0,eth,icmp,tun_id=0x7,in_port=1,dl_src=06:07:0a:00:00:02,nw_dst=10.0.0.3,icmp_type=8
Datapath actions: set(eth(dst=06:07:0a:00:00:03)),2
"""
)


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


def test_an_empty_switch_has_no_kind():
    assert (
        parse_trace(DROP.replace(" 0. in_port=100, priority 100, cookie 0x102000007000000", " 0. No match.")).kind
        is None
    )


def test_no_verdict_is_an_error():
    with pytest.raises(ValueError, match="no verdict"):
        parse_trace("Bad openflow flow syntax")


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (
            " event=ADDED table=30 cookie=0x7000007000000 ip,metadata=0x7,nw_src=10.0.0.2,nw_dst=10.0.0.3 actions=output:1",
            Change(None, 7, IPv4Network("10.0.0.2"), IPv4Network("10.0.0.3")),
        ),
        (" event=DELETED reason=delete table=0 cookie=0x1 in_port=100", Change(100)),
        (" event=MODIFIED table=10 cookie=0 tun_id=0x9", Change(None, 9)),
        (" event=ADDED table=40 cookie=0 ip,metadata=0x7,nw_dst=10.0.0.0/24", Change(None, 7, None, IPv4Network("10.0.0.0/24"))),
        (" event=ADDED table=0 cookie=0", Change()),
        ("OFPST_FLOW_MONITOR reply (OF1.4) (xid=0x0):", None),
        ("", None),
    ],
)  # fmt: skip
def test_monitor_events(line, change):
    assert parse_event(line) == change


MEGAFLOWS = """\
flow-dump from the main thread:
recirc_id(0),in_port(4),packet_type(ns=0,id=0),eth(src=06:07:0a:00:00:02,dst=02:00:5e:00:00:01),eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.3,tos=0/0x3,frag=no), packets:120, bytes:98000, used:0.5s, flags:P., actions:tnl_push(tnl_port(6081),header(size=50,type=5,eth(dst=02:fa:ac:10:00:02,src=02:fa:ac:10:00:01,dl_type=0x0800),ipv4(src=172.16.0.1,dst=172.16.0.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=6081,csum=0x0),geneve(vni=0x7)),out_port(1)),2
tunnel(tun_id=0x7,src=172.16.0.2,dst=172.16.0.1,flags(-df-csum+key)),recirc_id(0),in_port(6),packet_type(ns=0,id=0),eth(src=06:07:0a:00:00:03,dst=02:00:5e:00:00:01),eth_type(0x0800),ipv4(dst=10.0.0.2,frag=no), packets:1, bytes:2, used:never, actions:set(eth(src=02:00:5e:00:00:01,dst=06:07:0a:00:00:02)),4
tunnel(tun_id=0x7,src=172.16.0.2,dst=172.16.0.1,flags(-df-csum+key)),recirc_id(0),in_port(6),eth(),eth_type(0x0800),ipv4(src=10.0.0.3,dst=10.0.0.2,proto=6,frag=no), packets:5, bytes:600, used:0.1s, actions:set(eth(src=02:00:5e:00:00:01,dst=06:07:0a:00:00:02)),4
recirc_id(0),in_port(5),eth(),eth_type(0x0800),ipv4(src=10.0.0.2,dst=10.0.0.9,frag=no), packets:7, bytes:700, used:0.1s, actions:set(tunnel(tun_id=0x8,dst=172.16.0.3,ttl=64,tp_dst=6081,flags(df|key))),3
recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(src=172.16.0.2,dst=172.16.0.1,proto=17,frag=no),udp(dst=6081), packets:9, bytes:900, used:0.1s, actions:tnl_pop(6)
"""  # fmt: skip


def test_megaflows_of_both_datapaths():
    push, delivered, kernel = parse_megaflows(MEGAFLOWS)
    assert (push.vni, push.from_tunnel, push.peer, push.packets, push.bytes) == (
        7, False, IPv4Address("172.16.0.2"), 120, 98000,
    )  # fmt: skip
    assert (delivered.vni, delivered.from_tunnel, delivered.port, delivered.proto) == (7, True, 4, 6)
    assert (kernel.vni, kernel.peer, kernel.port) == (8, IPv4Address("172.16.0.3"), None)


def test_counters():
    flows = " cookie=0x101000000000000, duration=1s, table=0, n_packets=3, n_bytes=9, priority=0 actions=drop\n cookie=0x7, duration=1s, table=0, n_packets=5, priority=1 actions=drop\n"  # fmt: skip
    assert parse_drops(flows) == {"unknown-port": 3}
    ports = "  port 1: rx pkts=10, bytes=100, drop=0\n           tx pkts=2, bytes=20, drop=0\n  port 2: rx pkts=1, bytes=5, drop=?\n           tx pkts=1, bytes=1\n"  # fmt: skip
    assert parse_ports(ports) == {"rx_packets": 11, "rx_bytes": 105, "tx_packets": 3, "tx_bytes": 21}
