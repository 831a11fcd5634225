"""What is known of a flow-table entry: the ways that it led, and the changes that concern it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from hoverboard.contract.openflow.pipeline import Kind
from hoverboard.host.slowpath.known_entries import EarlierAnswer, KnownEntry, concerns, touched
from hoverboard.vswitch.monitor import Change
from hoverboard.vswitch.trace import TraceResult

REMOTE, OTHER = IPv4Address("172.16.0.2"), IPv4Address("172.16.0.9")
SRC, DST = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
ROUTED = TraceResult(Kind.ROUTE, 7, 1, REMOTE, 7, {}, frozenset(), False, True, metadata=frozenset({0, 7}))
OFFLOADED = replace(ROUTED, kind=Kind.OFFLOAD)


def entry(verdict: TraceResult = ROUTED, dst: IPv4Address | IPv6Address | None = DST, in_port: int = 100) -> KnownEntry:
    return KnownEntry("", verdict, in_port, SRC, dst, 6)


def of_network(vni: int) -> TraceResult:
    return replace(ROUTED, vni=vni, metadata=frozenset({0, vni}))


UNKNOWN = replace(ROUTED, metadata=None)  # an action that is not known here came before a table


def test_each_way_counts_what_went_there_alone() -> None:
    cached = entry()
    cached.change_answer(OFFLOADED, 1, 10, 1_000)
    assert (cached.verdict, cached.dropped) == (OFFLOADED, None)
    cached.change_answer(ROUTED, 2, 15, 1_600)
    cached.change_answer(OFFLOADED, 1, 18, 1_700)
    assert cached.earlier == [EarlierAnswer(ROUTED, 1, 13, 1_100), EarlierAnswer(OFFLOADED, 2, 5, 600)]


@pytest.mark.parametrize(
    ("verdict", "target", "dropped"),
    [
        (OFFLOADED, 1, None),
        (replace(ROUTED, tun_dst=OTHER), 1, None),
        (ROUTED, 2, None),
        (ROUTED, 1, "dos-blocked"),
    ],
    ids=["kind", "host", "target", "dropped"],
)
def test_ways_that_differ_in_one_thing_stay_apart(verdict: TraceResult, target: int, dropped: str | None) -> None:
    cached = entry()
    cached.change_answer(verdict, 1, 10, 1_000, dropped=dropped)
    cached.change_answer(ROUTED, target, 11, 1_001)
    assert cached.earlier == [EarlierAnswer(ROUTED, 1, 10, 1_000), EarlierAnswer(verdict, target, 1, 1, dropped)]
    assert cached.dropped is None


def test_the_same_way_in_other_words_is_one_way() -> None:
    cached = entry()
    cached.change_answer(replace(ROUTED, headers={"nw_ttl": "63"}, needs_ports=True), 1, 10, 1_000)
    cached.change_answer(ROUTED, 1, 12, 1_200)
    assert cached.earlier == [EarlierAnswer(ROUTED, 1, 12, 1_200)]


ONE = Change(vni=7, dst=IPv4Network("10.0.0.3/32"))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([ONE], ["none", "seven", "tunnel"]),
        ([Change(vni=8, dst=IPv4Network("10.0.0.3/32"))], ["none", "eight"]),
        ([Change(dst=IPv4Network("10.0.0.3/32"))], ["none", "seven", "eight", "tunnel"]),
        ([Change(vni=7, dst=IPv4Network("10.0.0.4/32"))], ["none", "four"]),
        ([ONE, Change(vni=7, dst=IPv4Network("10.0.0.4/32"))], ["none", "seven", "tunnel", "four"]),
        ([Change(vni=7, dst=IPv4Network("10.0.0.2/31"))], ["none", "seven", "tunnel"]),
        ([Change(vni=7, in_port=101, dst=IPv4Network("10.0.0.3/32"))], ["none"]),
        ([Change(vni=7, src=IPv4Network("10.0.0.9/32"), dst=IPv4Network("10.0.0.3/32"))], ["none"]),
        ([Change(tun_id=7, dst=IPv4Network("10.0.0.3/32"))], ["none", "tunnel"]),
        ([Change(tun_id=8)], ["none"]),
        ([Change(tun_id=0)], ["none", "seven", "eight", "four", "six", "arp"]),
        ([Change(vni=7, src=IPv4Network("10.0.0.2/32"), dst=IPv4Network("10.0.0.3/32"))], ["none", "seven", "tunnel"]),
        ([Change(vni=7, dst=IPv6Network("fd00::3/128"))], ["none", "six"]),
        ([Change(dst=IPv6Network("fd00::/64"))], ["none", "six"]),
        ([Change(vni=7)], ["none", "seven", "tunnel", "four", "six", "arp"]),
        ([Change(vni=0)], ["none", "seven", "eight", "tunnel", "four", "six", "arp"]),
        ([Change(vni=9, dst=IPv4Network("10.0.0.5/32")), Change(in_port=100)],
         ["none", "seven", "eight", "four", "six", "arp"]),
        ([Change(vni=9)], ["none"]),
        ([], []),
    ],
)  # fmt: skip
def test_changes_and_the_entries_that_they_concern(changes: list[Change], found: list[str]) -> None:
    """An entry whose way through the tables is not known is concerned by each of them."""
    entries = {
        "none": entry(UNKNOWN),
        "seven": entry(of_network(7)),
        "eight": entry(of_network(8)),
        "tunnel": replace(entry(of_network(7), in_port=1), tun_id=7),
        "four": entry(of_network(7), IPv4Address("10.0.0.4")),
        "six": entry(of_network(7), IPv6Address("fd00::3")),
        "arp": KnownEntry("", of_network(7), 100, None, None, 0),
    }
    assert touched(changes, entries) == found
    assert [name for name, one in entries.items() if any(concerns(change, one) for change in changes)] == found


def test_a_change_of_a_source_concerns_no_entry_without_addresses() -> None:
    arp = KnownEntry("", ROUTED, 100, None, None, 0)
    assert not concerns(Change(src=IPv4Network("0.0.0.0/0")), arp)
    assert not concerns(Change(dst=IPv4Network("0.0.0.0/0")), arp)
    assert concerns(Change(src=IPv4Network("0.0.0.0/0")), entry())
