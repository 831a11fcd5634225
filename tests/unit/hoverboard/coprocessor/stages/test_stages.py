"""Golden packets of the stages that judge: ACL, DoS detection, abuse detection."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor import headers
from hoverboard.coprocessor.sliding_window import SlidingCounts
from hoverboard.coprocessor.stages.abuse_detection import AbuseDetection
from hoverboard.coprocessor.stages.dos_detection import DosDetection
from hoverboard.coprocessor.stages.internet_acl import InternetAcl
from tests.unit.hoverboard.coprocessor.fakes import (
    ARP,
    ICMP,
    IP,
    TCP,
    UDP,
    Clock,
    IPv6,
    Raw,
    Reports,
    context,
    ethernet,
    packet,
)

WEB = ethernet(IP(src="10.0.0.2", dst="203.0.113.9"), TCP(sport=4000, dport=443, flags="S"))
DNS = ethernet(IP(src="10.0.0.2", dst="8.8.8.8"), UDP(sport=4000, dport=53))
PING = ethernet(IP(src="10.0.0.2", dst="203.0.113.9"), ICMP())
SIX = ethernet(IPv6(src="fd00::1", dst="2001:db8::1"), TCP(sport=1, dport=22))
LATER = ethernet(IP(src="10.0.0.2", dst="8.8.8.8", proto=17, frag=10), Raw(b"\0\x35\0\x35" * 4))
ANSWER = ethernet(IP(src="203.0.113.9", dst="10.0.0.2"), TCP(sport=443, dport=4000, flags="SA"))

ALLOW_DNS = {"action": "allow", "protocols": ["udp"], "ports": [53]}
DENY_NET = {"action": "deny", "prefixes": ["203.0.113.0/24"]}
SSH = {"action": "deny", "prefixes": ["2001:db8::/32"], "protocols": ["tcp"], "ports": ["20-23"]}

ACL = [
    # description, rules, default, packet, direction, verdict
    ("no rule, allowed by default", [], "allow", WEB, "egress", None),
    ("no rule, denied by default", [], "deny", WEB, "egress", "acl-denied"),
    ("prefix of the destination", [DENY_NET], "allow", WEB, "egress", "acl-denied"),
    ("another prefix", [DENY_NET], "allow", DNS, "egress", None),
    ("ingress: prefix of the source", [DENY_NET], "allow", ANSWER, "ingress", "acl-denied"),
    ("a rule for the other direction", [DENY_NET | {"direction": "egress"}], "allow", ANSWER, "ingress", None),
    ("port and protocol", [ALLOW_DNS], "deny", DNS, "egress", None),
    ("port without protocol", [ALLOW_DNS], "deny", WEB, "egress", "acl-denied"),
    ("the first match counts", [ALLOW_DNS, {"action": "deny"}], "allow", DNS, "egress", None),
    ("the first match counts, other order", [{"action": "deny"}, ALLOW_DNS], "allow", DNS, "egress", "acl-denied"),
    ("ICMP by name", [{"action": "deny", "protocols": ["icmp"]}], "allow", PING, "egress", "acl-denied"),
    ("ICMP has no ports", [{"action": "deny", "ports": ["0-65535"]}], "allow", PING, "egress", None),
    ("a later fragment has no ports", [ALLOW_DNS], "deny", LATER, "egress", "acl-denied"),
    ("IPv6, range of ports", [SSH], "allow", SIX, "egress", "acl-denied"),
    ("IPv4 prefix, IPv6 packet", [{"action": "deny", "prefixes": ["0.0.0.0/0"]}], "allow", SIX, "egress", None),
    ("ARP", [], "allow", ethernet(ARP()), "egress", "acl-not-ip"),
    ("cut short", [], "allow", WEB[:20], "egress", "acl-not-ip"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "rules", "default", "frame", "direction", "reason"), ACL, ids=[row[0] for row in ACL])
def test_internet_acl(what, rules, default, frame, direction, reason):
    stage = InternetAcl(context(), {"rules": rules, "default": default})
    for _ in range(2):  # the second is decided from memory
        one = packet(frame, direction)
        assert stage.process([one]) == ([] if reason else [one])
        assert one.reason == reason
        assert bytes(one.frame) == frame


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"default": "maybe"}, "config.default"),
        ({"rules": [{"action": "deny", "ports": ["80-70"]}]}, "config.rules.0.ports.0"),
        ({"rules": [{"action": "deny"}, {"action": "deny", "protocols": ["tpc"]}]}, "config.rules.1.protocols.0"),
        ({"rules": [{"action": "deny", "prefixes": ["10.0.0.1/8"]}]}, "config.rules.0.prefixes.0"),
        ({"rules": [{"prefix": "10.0.0.0/8"}]}, "config.rules.0.action"),
    ],
)
def test_internet_acl_names_what_is_wrong(config, where):
    with pytest.raises(InputError) as caught:
        InternetAcl(context(), config)
    assert caught.value.where == f"stage internet-acl, {where}"


def altered(frame, at, value):
    """`frame` with other bytes at `at`; scapy takes its time, and stages do not look at checksums."""
    return frame[:at] + value + frame[at + len(value) :]


FLOOD = {
    size: ethernet(IP(src="198.51.0.0", dst="10.0.0.2"), UDP(sport=1, dport=2) / Raw(bytes(size - 42)))
    for size in (100, 500, 1500)
}


def from_source(number, size=100):
    return packet(altered(FLOOD[size], 28, number.to_bytes(2, "big")), "ingress")


class Dos:
    """The stage, and a flood at so many packets a second, of which it gets samples as the fast path takes them."""

    def __init__(self, **config):
        self.clock, self.reports = Clock(), Reports()
        self.blocked = []
        given = context(self.clock, report=self.reports, block=lambda *what: self.blocked.append(what))
        self.stage = DosDetection(given, config)
        self.every = DosDetection.sampling(config, "ingress")
        self.dice = random.Random(7)

    def flood(self, rate, seconds, number=1, size=100):
        for _ in range(int(rate * seconds)):
            self.clock.now += 1 / rate
            if self.dice.randrange(self.every) == 0:
                one = from_source(number, size)
                one.sample = self.every
                self.stage.process([one])


@pytest.mark.parametrize("sample", [1, 16])
def test_a_flood_is_reported_and_a_trickle_is_not(sample):
    dos = Dos(sample=sample, packets_per_second=1000)
    dos.flood(500, 3)
    assert dos.reports.events == []
    dos.flood(3000, 2)
    # Again when the first alarm's time is over, not on every packet.
    assert 1 <= len(dos.reports.events) <= 3
    first = dos.reports.events[0]
    assert (first["source"], first["alarm"]) == ("198.51.0.1", "dos")
    assert 1000 < first["packets_per_second"] < 1300
    assert dos.blocked == []


def test_bytes_count_too():
    dos = Dos(sample=4, bytes_per_second=100_000)
    dos.flood(100, 2, size=500)
    assert dos.reports.events == []
    dos.flood(100, 2, size=1500)
    assert len(dos.reports.events) >= 1


def test_a_source_is_blocked_once_and_others_are_not():
    dos = Dos(sample=8, packets_per_second=100, block_seconds=5)
    dos.flood(1000, 1)
    dos.flood(50, 1, number=2)
    assert dos.blocked == [(bytes([198, 51, 0, 1]), 5)]
    dos.clock.now += 5
    dos.flood(1000, 1)
    assert len(dos.blocked) == 2


def test_egress_is_not_its_business():
    assert DosDetection.sampling({"packets_per_second": 1}, "egress") == 0
    dos = Dos(sample=1, packets_per_second=1, block_seconds=5)
    for _ in range(100):
        one = packet(WEB)
        assert dos.stage.process([one]) == [one]
    assert dos.blocked == []


@pytest.mark.parametrize("sample", [0, 65_536])
def test_what_an_entry_has_no_room_for(sample):
    with pytest.raises(InputError, match="sample"):
        DosDetection.sampling({"packets_per_second": 1, "sample": sample}, "ingress")


def test_a_flood_of_sources_costs_no_memory_and_hides_no_attacker():
    dos = Dos(sample=1, packets_per_second=200, sources=32)
    for n in range(4000):  # 1000 a second from one, 3000 from others that come once each
        dos.clock.now += 1 / 4000
        dos.stage.process([from_source(1 if n % 4 == 0 else n + 2)])
    assert len(dos.stage._counts) <= 64
    assert {event["source"] for event in dos.reports.events} == {"198.51.0.1"}


def test_a_limit_is_needed():
    with pytest.raises(InputError, match="there is no limit"):
        DosDetection(context(), {})


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 100)), max_size=200), st.integers(6, 10))
def test_counts_with_room_for_all_keys_are_exact(events, capacity):
    counts = SlidingCounts(10.0, capacity)
    for key, size in events:
        counts.add(key, 1, size, 0.0)
    sizes = [[size for one, size in events if one == key] for key in range(6)]
    # The whole window, half of the one before, nothing.
    for now, share in ((0.0, 1.0), (15.0, 0.5), (30.0, 0.0)):
        for key, mine in enumerate(sizes):
            expected = (share * len(mine) / 10, share * sum(mine) / 10)
            assert counts.rates(key, now) == pytest.approx(expected if events else (0, 0))


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 8))
def test_counts_never_blame_and_are_bounded(keys, capacity):
    counts = SlidingCounts(1.0, capacity)
    for key in keys:
        counts.add(key, 1, 1, 0.0)
        assert len(counts) <= capacity
    for key in set(keys):
        assert counts.rates(key, 0.0)[0] <= keys.count(key)


class Abuse:
    def __init__(self, **config):
        self.clock, self.reports = Clock(), Reports()
        self.stage = AbuseDetection(context(self.clock, report=self.reports), config)

    def send(self, dst="203.0.113.1", dport=80, flags="S", sport=5, proto=TCP):
        layer = TCP(sport=sport, dport=dport, flags=flags) if proto is TCP else UDP(sport=sport, dport=dport)
        one = packet(ethernet(IP(src="10.0.0.2", dst=dst), layer))
        passed = self.stage.process([one])
        assert bool(passed) == (one.reason is None)
        return one.reason

    @property
    def alarms(self):
        return [event["alarm"] for event in self.reports.events]


def test_a_port_scan():
    abuse = Abuse(destinations=20)
    assert {abuse.send(dport=port) for port in range(1, 200)} == {None}
    assert abuse.alarms == ["port-scan"]


@pytest.mark.parametrize("proto", [TCP, UDP])
def test_a_spray(proto):
    abuse = Abuse(destinations=20)
    for n in range(200):
        abuse.send(dst=f"203.0.113.{n}", proto=proto)
    assert abuse.alarms == ["spray"]


def test_a_syn_flood():
    abuse = Abuse(syns=50)
    for n in range(100):
        abuse.send(sport=n)
    assert abuse.alarms == ["syn-rate"]


def test_a_browser_is_no_abuse():
    abuse = Abuse(destinations=20, syns=50, window=10)
    for n in range(100):
        abuse.clock.now += 1
        abuse.send(dst=f"203.0.113.{n % 90}")
        abuse.send(dst=f"203.0.113.{n % 90}", flags="A")
    assert abuse.alarms == []


@pytest.mark.parametrize("proto", [TCP, UDP])
def test_a_server_is_no_abuse(proto):
    abuse = Abuse(destinations=20, action="throttle")
    for n in range(75):
        layer = TCP(sport=n + 1, dport=80, flags="S") if proto is TCP else UDP(sport=n + 1, dport=80)
        abuse.stage.process([packet(ethernet(IP(src="198.51.100.7", dst="10.0.0.2"), layer), "ingress")])
        assert abuse.send(dst="198.51.100.7", sport=80, dport=n + 1, flags="SA", proto=proto) is None
    assert abuse.alarms == []


def test_throttling_drops_what_is_new_for_a_while():
    abuse = Abuse(destinations=5, action="throttle", throttle_seconds=30, window=10)
    for port in range(1, 7):
        assert abuse.send(dport=port) is None
    assert abuse.send(dport=7) == "abuse-throttled"
    assert abuse.send(dport=1) == "abuse-throttled"  # a new connection to a known destination
    assert abuse.send(dport=1, flags="A") is None  # one that stands
    assert abuse.send(dport=9, proto=UDP) == "abuse-throttled"
    abuse.clock.now += 31
    assert abuse.send(dport=8) is None
    assert abuse.alarms == ["port-scan"]


def test_memory_is_bounded_by_the_limit():
    abuse = Abuse(destinations=10)
    asking = ethernet(IP(src="198.51.100.7", dst="10.0.0.2"), UDP(sport=1, dport=80))
    for n in range(1, 1000):
        abuse.stage.process([packet(altered(WEB, 36, n.to_bytes(2, "big")))])
        abuse.stage.process([packet(altered(asking, 34, n.to_bytes(2, "big")), "ingress")])
    assert len(abuse.stage._destinations) == 11
    assert len(abuse.stage._clients) == 40


@given(st.binary(max_size=90), st.integers(0, 90), st.sampled_from([6, 17, 1]))
@example(bytes(90), 20, 6)
@example(bytes(17), 20, 6)
def test_headers_of_anything_are_read_if_they_are_whole(data, total, protocol):
    """What is random stands behind a version, a length and a protocol, or no frame would be whole."""
    four = b"\x45\0" + total.to_bytes(2, "big") + data[:4] + bytes([64, protocol]) + data[4:]
    found = headers.read(bytearray(b"\0" * 12 + b"\x08\x00" + four))
    assert (found is not None) == (20 <= total <= len(four))
    if found is not None:
        assert (found.source, found.destination, found.protocol) == (four[12:16], four[16:20], protocol)
        ports = protocol != 1 and not found.fragment and total >= 28
        assert (found.source_port, found.destination_port) == (struct.unpack("!HH", four[20:24]) if ports else (0, 0))
    six = b"\x60\0\0\0" + total.to_bytes(2, "big") + bytes([protocol, 64]) + data
    found = headers.read(bytearray(b"\0" * 12 + b"\x86\xdd" + six))
    assert (found is not None) == (40 + total <= len(six))
    if found is not None:
        assert (found.source, found.destination, found.protocol) == (six[8:24], six[24:40], protocol)
    assert headers.read(bytearray(data)) is None or data[12:14] in (b"\x08\x00", b"\x86\xdd")
