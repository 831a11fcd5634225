"""Numbers that others rely on: running switches, saved counters, other generations on the wire, and the documentation.

A change of one breaks what relies on it; it has to be made here too.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from pathlib import Path

from hoverboard.contract import encapsulation
from hoverboard.contract.openflow import flow, policy, tables
from hoverboard.contract.openflow.tables import PIPELINE, Kind, Table

ROOT = Path(__file__).parents[5]
TABLES = {
    "CLASSIFY": 0, "TUNNEL": 10, "ARP": 20, "LINK": 22, "NEIGHBOUR": 24, "EGRESS": 26, "ROUTE": 30, "BALANCE": 34,
    "DELIVER": 40, "INGRESS": 42, "VPORT": 44, "RELAY": 50, "RELAY_BALANCE": 54,
}  # fmt: skip
GOTOS = {
    "CLASSIFY": {10, 20, 22, 26, 30}, "TUNNEL": {40, 50}, "ARP": set(), "LINK": {24, 26, 30}, "NEIGHBOUR": set(),
    "EGRESS": {30}, "ROUTE": {34, 40}, "BALANCE": {40}, "DELIVER": {42}, "INGRESS": {44}, "VPORT": set(),
    "RELAY": {54}, "RELAY_BALANCE": set(),
}  # fmt: skip
KINDS = {
    "PLUMBING": 0x0001, "VPORT": 0x0002, "ARP_ANSWER": 0x0003, "PING_ANSWER": 0x0004, "LOCAL": 0x0005,
    "ROUTE": 0x0006, "OFFLOAD": 0x0007, "TO_HOVERBOARD": 0x0008, "RELAY": 0x0009, "ND_ANSWER": 0x000A,
    "PUNT": 0x000B, "LEARN": 0x000C, "LEARNED": 0x000D, "FIREWALL": 0x000E, "BALANCE": 0x000F,
    "DROP_UNKNOWN_PORT": 0x0101, "DROP_SPOOFED": 0x0102, "DROP_NO_IPV6": 0x0103, "DROP_UNKNOWN_VNI": 0x0104,
    "DROP_ARP_NOT_GATEWAY": 0x0105, "DROP_NO_ROUTE": 0x0106, "DROP_NO_SUCH_VM": 0x0107, "DROP_VLAN": 0x0108,
    "DROP_MULTICAST": 0x0109, "DROP_LINK_LOCAL": 0x010A, "DROP_ND_NOT_GATEWAY": 0x010B,
    "DROP_UNKNOWN_DESTINATION": 0x010C, "DROP_FIREWALL_EGRESS": 0x010D, "DROP_FIREWALL_INGRESS": 0x010E,
}  # fmt: skip
PRIORITIES = {
    "EXCEPTION": 400, "EXACT": 300, "SOURCE": 250, "PAIR": 200, "ROUTE": 100, "LEARNED": 90, "PREFIX": 20,
    "DEFAULT": 10, "MISS": 0,
}  # fmt: skip
WIDTHS = {
    8: "ip_proto icmpv4_type icmpv6_type icmpv6_code nd_options_type",
    13: "vlan_vid",
    16: "eth_type tcp_src tcp_dst udp_src udp_dst arp_op",
    32: "in_port tun_ipv4_src tun_ipv4_dst ipv4_src ipv4_dst nd_reserved arp_spa arp_tpa reg5",
    48: "eth_src eth_dst ipv6_nd_tll arp_sha arp_tha",
    64: "metadata tunnel_id",
    128: "ipv6_src ipv6_dst ipv6_nd_target xxreg1",
}
ENCAPSULATION = {
    "GENEVE_PORT": 6081, "ROUTES_PORT": 6082, "GENEVE_PROTOCOL": 0x6558, "OUTER_BYTES": 50,
    "SEGMENT_OPTION_BYTES": 16, "OPTION_CLASS": 0xFF48, "SEGMENT_OPTION_TYPE": 1, "PROBE_REQUEST_TYPE": 2,
    "PROBE_REPLY_TYPE": 3, "GUEST_MTU": 1450, "FABRIC_MTU": 65521, "GUEST_GSO_MAX": 64000,
}  # fmt: skip


def test_tables_and_where_they_go() -> None:
    assert {table.name: int(table) for table in Table} == TABLES
    assert {table.name: set(map(int, spec.gotos)) for table, spec in PIPELINE.items()} == GOTOS


def test_the_documentation_names_the_tables_by_their_numbers() -> None:
    """A row is "| 0 classify | what it does | 10 (from the fabric), 20 |"."""
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) (\w+) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    assert sorted(int(number) for number, _, _ in rows) == sorted(TABLES.values())
    for number, name, onward in rows:
        assert TABLES[name.upper()] == int(number)
        assert {int(one) for one in re.findall(r"\b\d\d\b", onward)} <= GOTOS[name.upper()]


def test_kinds_in_cookies() -> None:
    assert {kind.name: int(kind) for kind in Kind} == KINDS
    assert tables.cookie(Kind.OFFLOAD, 0xABCDEF) == 0x0007_ABCDEF_000000
    assert tables.cookie(Kind.PLUMBING) == 0x0001_000000_000000
    assert tables.vni_of(0xFFFF_ABCDEF_FFFFFF) == 0xABCDEF


def test_priorities_of_flows() -> None:
    assert {name: getattr(tables, name) for name in PRIORITIES} == PRIORITIES


def test_ports_of_clients_and_buckets_of_load_balancers() -> None:
    assert (policy.CLIENT_PORTS, policy.SERVICE_PORTS) == ((0x8000, 0x8000), (0, 0x8000))
    assert (policy.PORT_BITS, policy.ADDRESS_BITS, policy.ADDRESS_ONLY_BITS) == (4, 2, 4)
    assert (policy.BUCKETS, policy.ADDRESS_ONLY_BUCKETS) == (64, 16)


def test_widths_of_fields() -> None:
    assert {name: field.bits for name, field in flow.FIELDS.items()} == {
        name: bits for bits, names in WIDTHS.items() for name in names.split()
    }


def test_numbers_of_openflow_and_of_the_wire() -> None:
    assert (flow.IN_PORT, flow.CONTROLLER) == (0xFFFFFFF8, 0xFFFFFFFD)  # OpenFlow 1.4, 7.2.1
    assert (tables.ETH_IPV4, tables.ETH_ARP, tables.ETH_IPV6) == (0x0800, 0x0806, 0x86DD)
    assert (tables.PROTO_ICMP, tables.PROTO_TCP, tables.PROTO_UDP, tables.PROTO_ICMPV6) == (1, 6, 17, 58)


def test_names_and_ports_of_every_switch() -> None:
    assert (tables.BRIDGE, tables.TUNNEL_PORT_NAME) == ("br-int", "gnv")
    assert (tables.TUNNEL_PORT, tables.FIRST_VPORT) == (1, 100)


def test_the_encapsulation() -> None:
    assert {name: getattr(encapsulation, name) for name in ENCAPSULATION} == ENCAPSULATION
    assert encapsulation.GATEWAY_MAC == "02:00:5e:00:00:01"
    assert IPv6Address("fe80::1") == encapsulation.GATEWAY_LINK_LOCAL
    # A whole segment of a guest fits the fabric's MTU with its encapsulation.
    outer = encapsulation.OUTER_BYTES - 14 + encapsulation.SEGMENT_OPTION_BYTES
    assert encapsulation.GUEST_GSO_MAX + 14 + outer <= encapsulation.FABRIC_MTU
    assert encapsulation.GUEST_MTU + encapsulation.OUTER_BYTES <= 1500
