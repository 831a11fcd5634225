"""Encapsulation against scapy's own idea of Geneve, and decapsulation of what should not be there."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address

import pytest
from scapy.contrib.geneve import GENEVE

from hoverboard.contract.encapsulation import OPTION_CLASS, OUTER_BYTES, SEGMENT_OPTION_BYTES
from hoverboard.fastpath.memory import entries, packets, reasons
from hoverboard.fastpath.memory.arrays import allocate
from hoverboard.fastpath.packets.flow_table import Entry, FlowTable
from hoverboard.fastpath.packets.geneve import DECAPSULATED, FOR_HOST, decapsulate, encapsulate, template
from tests.fuzz.oracle import read_outer
from tests.unit.hoverboard.packets import ARP, IP, UDP, Ether, array, empty_packet, frame

LOCAL, REMOTE, VNI = IPv4Address("172.16.0.1"), IPv4Address("172.16.0.2"), 0xABCDE


@pytest.fixture(scope="module")
def memory():
    memories = allocate()
    memory = memories[0]
    headers, checksum = template(LOCAL, REMOTE, VNI)
    key = (1, 0, 0, 0, 0, 0, 0, 0)
    FlowTable(memories, lambda *_: None).update(add=[(key, Entry(entries.ACT_TUNNEL, 1, b"", headers, checksum))])
    memory_row = int(memory.slots[memory.slots > 0][0]) - 1
    return memory, memory_row


def wrapped(memory_and_row, inner, vnet=bytes(12), segment=False, tos=0):
    memory, row = memory_and_row
    data = array(bytes(116) + vnet + inner)
    outer = encapsulate(memory, data, 128, len(inner), row, segment, 0x1234, tos)
    return data, outer, len(inner) + 128 - outer


@pytest.mark.parametrize("segment", [False, True])
def test_outer_headers_are_what_scapy_reads(memory, segment):
    inner = frame()
    vnet = bytes(range(1, 13))
    data, outer, length = wrapped(memory, inner, vnet, segment, tos=2)
    packet = Ether(bytes(data[outer : outer + length]))
    assert packet.src == "02:fa:ac:10:00:01"
    assert packet.dst == "02:fa:ac:10:00:02"
    assert (packet[IP].src, packet[IP].dst, packet[IP].tos, packet[IP].flags) == (str(LOCAL), str(REMOTE), 2, "DF")
    assert packet[IP].len == length - 14
    assert (packet[UDP].dport, packet[UDP].chksum, packet[UDP].len) == (6081, 0, length - 34)
    assert packet[UDP].sport >= 0xC000
    assert packet[GENEVE].vni == VNI
    assert packet[GENEVE].proto == 0x6558
    checksum = packet[IP].chksum
    del packet[IP].chksum
    assert Ether(bytes(packet))[IP].chksum == checksum
    assert not data[outer - 12 : outer].any()  # no checksum, no segmentation
    if segment:
        assert length == len(inner) + OUTER_BYTES + SEGMENT_OPTION_BYTES
        assert bytes(data[128 - 12 : 128]) == vnet  # the option's data is the header, in place


@pytest.mark.parametrize("segment", [False, True])
def test_decapsulation_undoes_encapsulation(memory, segment):
    inner = frame()
    data, outer, length = wrapped(memory, inner, bytes(range(12)), segment)
    row = empty_packet()
    verdict, tunnel = decapsulate(data, outer, length, int(REMOTE), row)
    assert verdict == DECAPSULATED
    assert tunnel & 0xFFFFFFFF == VNI
    assert tunnel >> 32 & 0xFFFFFFFF == int(LOCAL)
    assert (row[packets.FRAME], row[packets.LENGTH], row[packets.VNET]) == (128, len(inner), segment)


def outer(payload, **ip):
    return bytes(Ether() / IP(**{"src": str(LOCAL), "dst": str(REMOTE), **ip}) / payload)


def geneve(options=b"", *, first=None, flags=0, kind=0x6558, inner=None):
    inner = frame() if inner is None else inner
    first = len(options) // 4 if first is None else first
    return bytes([first, flags]) + kind.to_bytes(2, "big") + (7 << 8).to_bytes(4, "big") + options + inner


CRITICAL = OPTION_CLASS.to_bytes(2, "big") + b"\x85\x00"
HARMLESS = OPTION_CLASS.to_bytes(2, "big") + b"\x05\x00"
REFUSED = [
    ("short", b"\0" * 13, reasons.SHORT),
    ("arp is for the host", bytes(Ether() / ARP()), FOR_HOST),
    ("another ethernet type", bytes(Ether(type=0x86DD)) + bytes(60), reasons.NOT_GENEVE),
    ("another host's address", outer(UDP(dport=6081) / geneve(), dst="172.16.0.9"), reasons.NOT_US),
    ("tcp", outer(bytes(40), proto=6), reasons.NOT_GENEVE),
    ("a fragment", outer(UDP(dport=6081) / geneve(), flags="MF"), reasons.NOT_GENEVE),
    ("another port", outer(UDP(dport=4789) / geneve()), reasons.NOT_GENEVE),
    ("udp length is wrong", outer(UDP(dport=6081, len=20) / geneve()), reasons.OUTER),
    ("geneve version 1", outer(UDP(dport=6081) / geneve(first=0x40)), reasons.OUTER),
    ("not ethernet inside", outer(UDP(dport=6081) / geneve(kind=0x0800)), reasons.OUTER),
    ("options past the end", outer(UDP(dport=6081) / geneve(first=63, inner=b"")), reasons.OUTER),
    ("option past the options", outer(UDP(dport=6081) / geneve(HARMLESS[:3] + b"\x04")), reasons.OUTER),
    ("unknown critical option", outer(UDP(dport=6081) / geneve(CRITICAL)), reasons.CRITICAL),
    ("unknown harmless option", outer(UDP(dport=6081) / geneve(HARMLESS)), DECAPSULATED),
    ("oam is for the host", outer(UDP(dport=6081) / geneve(flags=0x80)), FOR_HOST),
    ("cut in the ip header", outer(UDP(dport=6081) / geneve())[:30], reasons.OUTER),
]


@pytest.mark.parametrize(("data", "verdict"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_is_refused(data, verdict):
    row = empty_packet()
    assert decapsulate(array(data), 0, len(data), int(REMOTE), row)[0] == verdict


def test_a_damaged_frame_yields_the_inner_frame_that_its_headers_say_or_none():
    """Some bytes of the outer headers are others, and bytes are missing or too many at the end."""
    dice = random.Random(3)
    whole = outer(UDP(dport=6081) / geneve(HARMLESS), src=str(REMOTE), dst=str(LOCAL))
    outcomes = Counter()
    row = empty_packet()
    for _ in range(3_000):
        damaged = bytearray(whole)
        for _ in range(dice.randrange(3)):
            damaged[dice.randrange(12, 60)] = dice.randrange(256)
        damaged += bytes(dice.randrange(4))
        del damaged[len(damaged) - dice.choice((0, 0, 0, 1, 30, len(whole))) :]
        size = len(damaged)
        verdict, tunnel = decapsulate(array(bytes(damaged)), 0, size, int(LOCAL), row)
        found = read_outer(bytes(damaged))
        outcomes[verdict] += 1
        assert (verdict == DECAPSULATED) == isinstance(found, tuple)
        if isinstance(found, tuple):
            begin, length = int(row[packets.FRAME]), int(row[packets.LENGTH])
            total = int.from_bytes(damaged[16:18], "big")
            assert begin >= OUTER_BYTES
            assert begin + length == 14 + total <= size
            assert (tunnel >> 32 & 0xFFFFFFFF, tunnel & 0xFFFFFFFF) == found[0]
            assert bytes(damaged[begin : begin + length]) == found[1][:length]
    assert outcomes[DECAPSULATED] > 500
    assert all(outcomes[verdict] > 20 for verdict in (reasons.OUTER, reasons.NOT_US, reasons.NOT_GENEVE, reasons.SHORT))


def test_a_large_frame_tells_how_long_its_headers_are(memory):
    data, outer, _ = wrapped(memory, frame() + bytes(5000), segment=True)
    assert bytes(data[outer - 12 : outer]) == bytes([0, 0, 192]) + bytes(9)
