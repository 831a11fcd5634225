"""Detection of abuse by a VM: scans, sprays and SYN floods, and ordinary use that is none."""

from __future__ import annotations

import pytest

from hoverboard.coprocessor.stages.abuse_detection import AbuseDetection
from tests.unit.hoverboard.coprocessor.fakes import (
    IP,
    TCP,
    UDP,
    Clock,
    Reports,
    altered,
    context,
    ethernet,
    packet,
)

WEB = ethernet(IP(src="10.0.0.2", dst="203.0.113.9"), TCP(sport=4000, dport=443, flags="S"))


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
