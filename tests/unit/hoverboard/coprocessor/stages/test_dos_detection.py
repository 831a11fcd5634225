"""Detection of floods: who is reported and blocked, and what that costs in memory."""

from __future__ import annotations

import random

import pytest

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.stages.dos_detection import DosDetection
from tests.unit.hoverboard.coprocessor.fakes import (
    IP,
    UDP,
    Clock,
    Raw,
    Reports,
    altered,
    context,
    ethernet,
    packet,
)

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
        one = packet(FLOOD[100])
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
