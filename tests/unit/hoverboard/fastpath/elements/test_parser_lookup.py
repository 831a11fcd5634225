"""Parser, look-up and account: what hits and misses the table, and what is counted (see also the golden packets)."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import IPv6

from hoverboard.contract.openflow.pipeline import TUNNEL_PORT
from hoverboard.fastpath.elements.account import account
from hoverboard.fastpath.elements.lookup import look_up
from hoverboard.fastpath.elements.parser import parse_packets
from hoverboard.fastpath.memory import control, entries, packets, ports, reasons, rings
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.testing.memory_host import OFPORTS, VM, key_of, tunnel_word
from tests.unit.hoverboard.packets import TCP, UDP, Ether, frame


def six(payload, **ip):
    ip = {"src": "fd00::2", "dst": "fd00::3", **ip}
    return bytes(Ether(src="06:07:0a:00:00:02", dst="02:00:5e:00:00:01") / IPv6(**ip) / payload)


def udp():
    return UDP(sport=1, dport=2)


def bent(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def test_what_is_refused_leaves_the_others_in_order(host):
    m = host.egress
    slots = [host.place(m, data, VM) for data in (frame(), bytes(5), six(udp()), bytes(Ether(type=0x8100)), frame())]
    assert parse_packets(m, host.batch(m, *slots)) == 3
    assert list(m.batch[:3]) == slots[::2]
    assert m.ctl[control.FREE] == packets.POOL_SLOTS - 3


def test_from_the_fabric_the_key_has_the_tunnel_and_its_port(host):
    m = host.ingress
    parse_packets(m, host.batch(m, slot := host.place(m, frame(), ports.UPLINK, tunnel=tunnel_word())))
    assert m.packet_keys[slot, 0] >> 48 == TUNNEL_PORT
    assert m.packet_keys[slot, 1] == tunnel_word()


THREE, OTHER_PORTS = frame(udp()), frame(UDP(sport=1, dport=3))


def looked_up(host, packet, port=VM, staged=0, m=None):
    m = m or host.egress
    n = parse_packets(m, host.batch(m, slot := host.place(m, packet, port, staged=staged)))
    n = look_up(m, n)
    return int(m.entries[m.packets[slot, packets.INDEX], 1]) if n else None


def test_look_up_prefers_the_three_tuple_then_the_five_tuple_then_misses(host):
    host.table.update([(key_of(THREE, OFPORTS[VM], five=True), Entry(entries.ACT_VPORT, 7))])
    assert looked_up(host, THREE) == 7
    assert looked_up(host, OTHER_PORTS) is None
    host.table.update([(key_of(THREE, OFPORTS[VM]), Entry(entries.ACT_VPORT, 8))])
    assert looked_up(host, THREE) == 8
    assert looked_up(host, OTHER_PORTS) == 8


@pytest.mark.parametrize(
    ("description", "packet", "port"),
    [
        ("another port", THREE, VM + 1),
        ("another protocol", frame(TCP(sport=1, dport=2)), VM),
        ("another destination", bent(THREE, 33, b"\x04"), VM),
        ("another source", bent(THREE, 29, b"\x04"), VM),
        ("another sender's MAC", bent(THREE, 6, b"\x06" * 6), VM),
        ("another target's MAC", b"\xff" * 6 + THREE[6:], VM),
        ("a fragment", frame(udp(), flags="MF"), VM),
        ("another ECN", frame(udp(), tos=1), VM),
        ("ipv6", six(udp()), VM),
    ],
)
def test_whatever_differs_misses(host, description, packet, port):
    host.table.update([(key_of(THREE, OFPORTS[VM]), Entry(entries.ACT_VPORT, 8))])
    assert looked_up(host, packet, port) is None
    (missed,) = host.missed(host.egress)
    assert (missed.frame, missed.kind, missed.port) == (packet, rings.MISS_FLOW, port)


@pytest.mark.parametrize("word", range(22, 54))
def test_every_byte_of_an_ipv6_address_counts(host, word):
    packet = six(udp())
    host.table.update([(key_of(packet, OFPORTS[VM]), Entry(entries.ACT_VPORT, 9))])
    assert looked_up(host, packet) == 9
    assert looked_up(host, bent(packet, word, bytes([packet[word] ^ 1]))) is None


def test_a_tunnel_from_another_host_or_network_misses(host):
    host.table.update([(key_of(THREE, TUNNEL_PORT, tunnel_word()), Entry(entries.ACT_VPORT, 9))])
    for tunnel, found in ((tunnel_word(), 1), (tunnel_word(vni=7), 0), (tunnel_word() ^ 1 << 32, 0)):
        m = host.ingress
        n = parse_packets(m, host.batch(m, host.place(m, THREE, ports.UPLINK, tunnel=tunnel)))
        assert look_up(m, n) == found


def test_a_staged_miss_takes_its_inner_frame_and_tunnel_along(host):
    m = host.ingress
    n = parse_packets(m, host.batch(m, host.place(m, THREE, ports.UPLINK, tunnel=77, staged=1)))
    assert look_up(m, n) == 0
    (missed,) = host.missed(m)
    assert (missed.frame, missed.kind, missed.tunnel) == (THREE, rings.MISS_STAGED, 77)


def test_one_vm_cannot_take_all_miss_slots(host):
    m = host.egress
    for _ in range(rings.MISSES_PER_PORT + 3):
        looked_up(host, THREE)
    assert host.drops() == {"miss-queue-full": 3}
    assert looked_up(host, THREE, VM + 1) is None
    assert host.drops() == {"miss-queue-full": 3}
    assert len(host.missed(m)) == rings.MISSES_PER_PORT + 1
    assert host.all_free(m)


def account_one(host, entry, staged=0):
    m = host.egress
    key = key_of(THREE, OFPORTS[VM])
    host.table.update([(key, entry)])
    n = parse_packets(m, host.batch(m, host.place(m, THREE, VM, staged=staged)))
    return account(m, look_up(m, n)), host.table.counted(key)


def test_a_packet_is_counted_with_the_bytes_of_its_inner_frame(host):
    assert account_one(host, Entry(entries.ACT_VPORT, 3)) == (1, (1, len(THREE)))


def test_a_packet_back_from_its_stages_is_not_counted_again(host):
    assert account_one(host, Entry(entries.ACT_VPORT, 3), staged=1) == (1, (0, 0))


def test_a_drop_entry_counts_and_drops_by_its_reason(host):
    assert account_one(host, Entry(entries.ACT_DROP, reasons.NAMES.index("spoofed"))) == (0, (1, len(THREE)))
    assert host.drops() == {"spoofed": 1}
    assert host.all_free(host.egress)
