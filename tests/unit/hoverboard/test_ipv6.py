"""IPv6 in what the data plane reads of Open vSwitch, and in what the switch itself answers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from pydantic import ValidationError
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from hoverboard.contract.encapsulation import GATEWAY_LINK_LOCAL, GATEWAY_MAC, link_local
from hoverboard.contract.entities import VM, Subnetwork
from hoverboard.contract.openflow import pipeline
from hoverboard.contract.openflow.flow import Match, SetField
from hoverboard.contract.openflow.pipeline import Kind, Table, kind_of
from hoverboard.host.slowpath.switch_replies import rewrite
from hoverboard.vswitch.megaflows import parse_megaflows
from hoverboard.vswitch.monitor import Change, parse_event
from hoverboard.vswitch.trace import parse_trace

MAC = "06:07:0a:00:00:02"
ONE, TWO = IPv6Address("fd00:7::2"), IPv6Address("fd00:7::3")
HOST = IPv4Address("172.16.0.2")
SOLICITATION = bytes(
    Ether(src=MAC, dst="33:33:ff:00:00:01")
    / IPv6(src=str(ONE), dst="ff02::1:ff00:1", hlim=255)
    / ICMPv6ND_NS(tgt="fe80::1")
    / ICMPv6NDOptSrcLLAddr(lladdr=MAC)
)
# As ovs-vswitchd 3.1.0 answered, shortened by what is not read.
ADVERTISING = """\
Flow: icmp6,in_port=100,vlan_tci=0x0000,dl_src=06:07:0a:00:00:02,dl_dst=33:33:ff:00:00:01,ipv6_src=fd00:7::2,\
ipv6_dst=ff02::1:ff00:1,ipv6_label=0x00000,nw_tos=0,nw_ecn=0,nw_ttl=255,nw_frag=no,icmp_type=135,icmp_code=0,\
nd_target=fe80::1,nd_sll=06:07:0a:00:00:02,nd_tll=00:00:00:00:00:00

22. icmp6,metadata=0x7,icmp_type=135,icmp_code=0,nd_target=fe80::1, priority 400, cookie 0xa000007000000
    move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[]
     -> NXM_NX_IPV6_DST[] is now fd00:7::2
    set_field:fe80::1->ipv6_src
    set_field:3758096384->nd_reserved
    set_field:2->nd_options_type
    set_field:136->icmpv6_type
    goto_table:24
24. icmp6,metadata=0x7,icmp_type=136,icmp_code=0, priority 300, cookie 0xa000007000000
    set_field:02:00:5e:00:00:01->nd_tll
    IN_PORT

Final flow: icmp6,in_port=100,vlan_tci=0x0000,dl_src=02:00:5e:00:00:01,dl_dst=06:07:0a:00:00:02,ipv6_src=fe80::1,\
ipv6_dst=fd00:7::2,ipv6_label=0x00000,nw_tos=0,nw_ecn=0,nw_ttl=255,nw_frag=no,icmp_type=136,icmp_code=0,\
nd_target=fe80::1,nd_sll=06:07:0a:00:00:02,nd_tll=02:00:5e:00:00:01
Megaflow: recirc_id=0,eth,icmp6,in_port=100,dl_src=06:07:0a:00:00:02,dl_dst=33:33:ff:00:00:01,ipv6_src=fd00:7::2,\
ipv6_dst=ff02::1:ff00:1,nw_frag=no,icmp_type=0x87/0xff,icmp_code=0x0/0xff,nd_target=fe80::1,\
nd_tll=00:00:00:00:00:00,nd_reserved=0,nd_options_type=0x0/0xff
"""


def test_a_solicitation_for_the_gateway_becomes_its_advertisement():
    verdict = parse_trace(ADVERTISING)
    assert (verdict.kind, verdict.vni, verdict.out_port) == (Kind.ND_ANSWER, 7, 100)
    assert not verdict.cacheable
    answer = rewrite(SOLICITATION, verdict.headers)
    packet = Ether(answer)
    assert (packet.src, packet.dst) == (GATEWAY_MAC, MAC)
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].hlim) == ("fe80::1", str(ONE), 255)
    advertised = packet[ICMPv6ND_NA]
    assert (advertised.tgt, advertised.R, advertised.S, advertised.O) == ("fe80::1", 1, 1, 1)
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == GATEWAY_MAC
    fresh = packet.copy()
    del fresh[ICMPv6ND_NA].cksum
    assert bytes(fresh) == answer


ECHO = """\
Flow: icmp6,in_port=102,vlan_tci=0x0000,ipv6_src=fd00:7::2,ipv6_dst=fd00:7::3,nw_ecn=0,nw_frag=no,icmp_type=128

30. ipv6,metadata=0x7, priority 10, cookie 0x8000007000000
    set_field:0x7->tun_id
    output:1

Final flow: icmp6,tun_dst=172.16.0.2,in_port=102,vlan_tci=0x0000,ipv6_src=fd00:7::2,ipv6_dst=fd00:7::3,nw_ecn=0,\
nw_frag=no,icmp_type=128
Megaflow: recirc_id=0,eth,icmp6,in_port=102,dl_src=06:07:0a:00:00:02,ipv6_src=fd00:7::2,ipv6_dst=fd00:7::3,nw_ecn=0,\
nw_frag=no,icmp_type=0x80/0xfc,nd_target=::
"""


def test_other_icmp_than_discovery_fits_a_key_that_holds_its_type():
    verdict = parse_trace(ECHO)
    assert (verdict.kind, verdict.tun_dst) == (Kind.TO_HOVERBOARD, HOST)
    assert (verdict.cacheable, verdict.needs_ports) == (True, True)
    fragment = ECHO.replace("icmp_type=128", "icmp_type=0").replace("icmp_type=0x80/0xfc,", "")
    assert (parse_trace(fragment).cacheable, parse_trace(fragment).needs_ports) == (True, True)
    assert not parse_trace(ECHO.replace("icmp_type=128", "icmp_type=135")).cacheable


def test_a_ping_of_the_gateway_is_answered_with_the_right_checksum():
    request = Ether(src=MAC, dst=GATEWAY_MAC) / IPv6(src=str(ONE), dst="fe80::1")
    frame = bytes(request / ICMPv6EchoRequest(id=7, seq=3) / Raw(b"odd"))
    headers = {
        "dl_src": GATEWAY_MAC, "dl_dst": MAC, "ipv6_src": "fe80::1", "ipv6_dst": str(ONE), "icmp_type": "129",
    }  # fmt: skip
    answer = rewrite(frame, headers)
    packet = Ether(answer)
    assert (packet[IPv6].src, packet[IPv6].dst, packet[IPv6].payload.type) == ("fe80::1", str(ONE), 129)
    fresh = packet.copy()
    del fresh[IPv6].payload.cksum
    assert bytes(fresh) == answer


@pytest.mark.parametrize("size", range(54, len(SOLICITATION)))
def test_a_solicitation_cut_short_is_not_answered_and_breaks_nothing(size):
    assert rewrite(SOLICITATION[:size], parse_trace(ADVERTISING).headers) is None


def test_megaflows_of_both_families_are_read():
    pushed, local, masked = parse_megaflows(
        "recirc_id(0),in_port(6),eth(src=06:07:0a:00:00:02,dst=02:00:5e:00:00:01),eth_type(0x86dd),"
        "ipv6(src=fd00:7::2,dst=fd00:7::3,proto=6,frag=no), packets:144112, bytes:210952328, used:0.0s, flags:P., "
        "actions:tnl_push(tnl_port(1),header(size=50,type=5,eth(dst=02:fa:ac:10:00:02,src=02:fa:ac:10:00:01,"
        "dl_type=0x0800),ipv4(src=172.16.0.1,dst=172.16.0.2,proto=17,tos=0,ttl=64,frag=0x4000),"
        "udp(src=0,dst=6081,csum=0x0),geneve(vni=0x7)),out_port(3)),4\n"
        "recirc_id(0),in_port(6),eth_type(0x86dd),ipv6(src=fd00:7::2,dst=fd00:7::4,label=0x1/0xf,proto=58,frag=no),"
        "icmpv6(type=128/0xfc), packets:1, bytes:118, used:0.1s, actions:set(eth(src=02:00:5e:00:00:01)),7\n"
        "in_port(6),ipv6(src=fe80::1/ffff::,dst=ff02::16/::,frag=no), packets:1, bytes:90, used:1s, actions:drop\n"
    )
    assert (pushed.vni, pushed.src, pushed.dst, pushed.proto, pushed.peer) == (7, ONE, TWO, 6, HOST)
    assert (local.dst, local.proto, local.peer, local.port) == (IPv6Address("fd00:7::4"), 58, None, 7)
    assert (masked.src, masked.proto, masked.port) == (IPv6Address("fe80::1"), None, None)


def test_a_change_of_an_ipv6_flow_tells_its_addresses():
    exact = "event=ADDED table=30 cookie=0x7 ipv6,metadata=0x7,ipv6_src=fd00:7::2,ipv6_dst=fd00:7::3 actions=output:1"
    assert parse_event(f" {exact}") == Change(None, 7, IPv6Network("fd00:7::2/128"), IPv6Network("fd00:7::3/128"))
    part = "event=DELETED reason=delete table=22 cookie=0x7 ipv6,metadata=0x7,ipv6_dst=ff00::/8 actions=drop"
    assert parse_event(f" {part}") == Change(None, 7, None, IPv6Network("ff00::/8"))


def test_the_link_local_address_is_the_one_a_guest_gives_itself():
    assert link_local(MAC) == IPv6Address("fe80::407:aff:fe00:2")


def test_a_vm_may_send_from_its_address_and_its_link_local_one_alone():
    flows = pipeline.vport_flows(7, 100, IPv4Address("10.0.0.2"), MAC, ONE)
    sources = [match.value for flow in flows for match in flow.match if match.field == "ipv6_src"]
    assert sources == [int(ONE), int(link_local(MAC))]
    kinds = [kind_of(flow.cookie) for flow in flows]
    assert Kind.DROP_NO_IPV6 not in kinds
    assert Kind.DROP_NO_IPV6 in [
        kind_of(flow.cookie) for flow in pipeline.vport_flows(7, 100, IPv4Address("10.0.0.2"), MAC)
    ]


def test_the_gateway_answers_in_the_order_that_a_switch_can_carry_out():
    into, answer = [flow for flow in pipeline.link_flows(7) if kind_of(flow.cookie) is Kind.ND_ANSWER]
    assert Match("ipv6_nd_target", int(GATEWAY_LINK_LOCAL)) in into.match
    # The type of the option must be written before its address: a switch looks for the option by its type.
    assert SetField("nd_options_type", 2) in into.actions
    assert (answer.table, Match("icmpv6_type", 136) in answer.match) == (Table.NEIGHBOUR, True)
    assert any(isinstance(action, SetField) and action.field == "ipv6_nd_tll" for action in answer.actions)


@pytest.mark.parametrize("prefix", ["fe80::/64", "ff02::/64", "::/64", "::/0", "fd00:7::/127"])
def test_a_subnetwork_has_a_usable_ipv6_range(prefix):
    with pytest.raises(ValidationError, match=r"not for VMs|no room"):
        Subnetwork(name="s", network="n", prefix=IPv4Network("10.0.0.0/24"), prefix6=IPv6Network(prefix))


@pytest.mark.parametrize("address", ["fe80::9", "ff02::1", "::1", "::", "::ffff:10.0.0.2"])
def test_a_vm_has_a_usable_ipv6_address(address):
    with pytest.raises(ValidationError, match="not for VMs"):
        VM(name="v", network="n", host="h", ip=IPv4Address("10.0.0.2"), mac=MAC, ip6=IPv6Address(address))
