"""The golden packets through the engines: one frame goes in, the table has one row."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.memory import entries, ports, reasons
from hoverboard.fastpath.packets import geneve
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.fastpath.packets.parse import (
    ECN_SHIFT,
    ETH_IPV4,
    ETH_IPV6,
    FRAG_SHIFT,
    PORT_SHIFT,
    PROTO_SHIFT,
    TYPE_SHIFT,
    with_ports,
)
from hoverboard.testing.memory_host import LOCAL, OFPORTS, OTHER_VM, PEER, VM, tunnel_word
from tests.golden_packets import FRAGMENTS, read_all, unwrapped

PORTS = {"vm": VM, "other-vm": OTHER_VM}
PACKETS = read_all()


def signed(word):
    return word - (1 << 64) if word >> 63 else word


def key_for(golden):
    """The flow key of a row, word by word from what it matches: nothing is parsed."""
    match, inner = golden.row.match, golden.inner
    in_port = TUNNEL_PORT if golden.from_fabric else OFPORTS[VM]
    first = in_port << PORT_SHIFT | match["dl_type"] << TYPE_SHIFT | match.get("nw_proto", 0) << PROTO_SHIFT
    first |= match.get("nw_ecn", 0) << ECN_SHIFT | FRAGMENTS[match.get("nw_frag", "no")] << FRAG_SHIFT
    tunnel = tunnel_word(IPv4Address(match["tun_src"]), match["tun_id"]) if golden.from_fabric else 0
    addresses = b"".join(ip_address(match[name]).packed for name in ("nw_src", "nw_dst") if name in match)
    assert (len(addresses) == {ETH_IPV4: 8, ETH_IPV6: 32}.get(match["dl_type"], 0)) or match["dl_type"] == 0x0806
    words = [signed(int.from_bytes(addresses[at : at + 8].ljust(8, b"\0"), "big")) for at in range(0, 32, 8)]
    key = (signed(first), tunnel, int.from_bytes(inner[6:12], "big"), int.from_bytes(inner[:6], "big"), *words)
    for source, target, bits in (("tp_src", "tp_dst", 16), ("icmp_type", "icmp_code", 16)):
        if source in match:
            key = with_ports(key, match[source] << bits | match[target])
    return key


def entry_for(row):
    """The entry that does what the row says."""
    if row.drop is not None:
        return Entry(entries.ACT_DROP, reasons.NAMES.index(row.drop))
    if isinstance(row.to, IPv4Address):
        headers, checksum = geneve.template(LOCAL, row.to, row.vni)
        return Entry(entries.ACT_TUNNEL, PEER, row.macs, headers, checksum)
    return Entry(entries.ACT_VPORT, PORTS[row.to], row.macs)


def sent(host, golden):
    """Frames that leave, by port."""
    if golden.row is not None:
        host.table.update([(key_for(golden), entry_for(golden.row))])
    port = ports.UPLINK if golden.from_fabric else VM
    assert host.push(port, golden.frame)
    host.serve(port)
    host.attend()
    found = {name: [taken.frame for taken in host.sent(at)] for name, at in {**PORTS, "fabric": ports.UPLINK}.items()}
    return {name: frames for name, frames in found.items() if frames}


@pytest.mark.parametrize("golden", PACKETS, ids=[golden.name for golden in PACKETS])
def test_what_comes_out_of_the_engines(host, golden):
    found = sent(host, golden)
    missed = [host.missed(m) for m in host.datapath.memories]
    assert missed == [[], []], "the row is not found"
    assert host.drops() == ({} if golden.drop is None else {golden.drop: 1})
    assert all(host.all_free(m) for m in host.datapath.memories)
    if golden.out is None:
        assert found == {}
    elif isinstance(golden.row.to, IPv4Address):
        (frame,) = found.pop("fabric")
        outer = Ether(frame)
        assert (found, unwrapped(frame)) == ({}, golden.out)
        assert (outer[IP].src, outer[IP].dst, outer[GENEVE].vni) == (str(LOCAL), str(golden.row.to), golden.row.vni)
        assert golden.outer_ecn in (None, outer[IP].tos & 3)
    else:
        assert found == {golden.row.to: [golden.out]}


def test_there_are_packets_of_both_ends_and_of_each_kind() -> None:
    assert {golden.from_fabric for golden in PACKETS} == {False, True}
    assert {golden.row is None or golden.row.to is None for golden in PACKETS} == {False, True}
