"""The verdict on isolation: what counts as a leak, and the kernel's counters it is read from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.isolation import ForeignAddress, IpCounters, Isolation, SameAddress, parse_snmp
from hoverboard.contract.errors import MeasurementError

SAME = SameAddress("blue", "10.0.0.3", "blue-1", "blue-2", "red-2", 10, 10, 0)
FOREIGN = ForeignAddress("blue", "blue-1", "10.0.0.5", "red-only", "red", 10, 0, 0, 3)
SNMP = "Ip: Forwarding DefaultTTL InReceives InHdrErrors\nIp: 2 64 17 0\nIcmp: InMsgs InErrors InEchos\nIcmp: 9 0 5\n"


def test_counters() -> None:
    assert parse_snmp(SNMP) == IpCounters(packets=17, echo_requests=5)


def test_missing_counter_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="Icmp"):
        parse_snmp(SNMP[: SNMP.index("Icmp")])


def test_verdicts() -> None:
    assert Isolation((SAME,), (FOREIGN,)).ok
    assert replace(SAME, target_echo_requests=9).ok, "a lost packet is no leak"
    assert not replace(SAME, bystander_packets=1).ok
    assert not replace(SAME, target_echo_requests=0).ok, "nothing was shown if nothing arrived"
    assert not replace(FOREIGN, replies=1).ok
    assert not replace(FOREIGN, owner_packets=1).ok
    assert not replace(FOREIGN, replies_inside=0).ok
    assert not Isolation((), ()).ok
