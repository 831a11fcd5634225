"""State of the on-demand model: addresses in frames, the limit on questions, answers that stand, packets that wait."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from controllers.testing.world import START
from controllers.vmc.lookups.lookups import HeldPackets, Lookup, Lookups, QuestionLimit, destination
from hoverboard.contract.packets import Address

B2, B3 = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
V6 = IPv6Address("fd00:7::3")
H1_B2, H1_B3, H2_B3 = Lookup("h1", "blue", B2), Lookup("h1", "blue", B3), Lookup("h2", "blue", B3)
GREEN = Lookup("h1", "green", B2)
IPV4, IPV6 = bytes(12) + b"\x08\x00" + bytes(16) + B2.packed, bytes(12) + b"\x86\xdd" + bytes(24) + V6.packed


@pytest.mark.parametrize(
    ("frame", "address"),
    [
        (IPV4, B2),
        (IPV4 + b"and more", B2),
        (IPV4[:-1], None),
        (IPV6, V6),
        (IPV6 + b"and more", V6),
        (IPV6[:-1], None),
        (bytes(12) + b"\x08\x06" + bytes(60), None),
        (b"", None),
    ],
)
def test_the_destination_is_read_from_whole_headers_only(frame: bytes, address: Address | None) -> None:
    assert destination(frame) == address


# --- limit --------------------------------------------------------------------------------------------


def test_a_vport_may_ask_25_at_once_and_then_50_a_second() -> None:
    limit = QuestionLimit()
    assert [limit.take(1, 100, START) for _ in range(26)] == [True] * 25 + [False]
    assert [limit.take(1, 100, START + 0.5) for _ in range(26)] == [True] * 25 + [False]
    assert [limit.take(1, 100, START + 1.0) for _ in range(26)] == [True] * 25 + [False]


def test_tokens_come_back_with_time_and_never_more_than_the_burst() -> None:
    limit = QuestionLimit(2.0, 3.0)
    assert [limit.take(1, 100, START) for _ in range(4)] == [True, True, True, False]
    assert not limit.take(1, 100, START + 0.25)
    assert [limit.take(1, 100, START + 0.5) for _ in range(2)] == [True, False]
    assert [limit.take(1, 100, START + 60.0) for _ in range(4)] == [True, True, True, False]


def test_each_vport_has_a_limit_of_its_own_until_its_switch_goes() -> None:
    limit = QuestionLimit(2.0, 1.0)
    for dpid, port in ((1, 100), (1, 101), (2, 100)):
        assert [limit.take(dpid, port, START) for _ in range(2)] == [True, False]
    limit.forget(1)
    assert [limit.take(dpid, port, START) for dpid, port in ((1, 100), (1, 101), (2, 100))] == [True, True, False]


# --- answers ------------------------------------------------------------------------------------------


def filled() -> Lookups:
    lookups = Lookups(30.0, 5.0)
    for number, lookup in enumerate((H1_B2, H1_B3, H2_B3, GREEN)):
        lookups.add(lookup, negative=False, now=START + number)
    return lookups


def test_the_defaults_are_thirty_seconds_idle_and_five_negative() -> None:
    lookups = Lookups()
    lookups.add(H1_B2, negative=False, now=START)
    assert lookups.deadline() == START + 30.0
    lookups.add(H1_B3, negative=True, now=START)
    assert lookups.deadline() == START + 5.0


def test_an_answer_is_over_at_its_time_and_the_next_one_is_due_then() -> None:
    lookups = filled()
    assert lookups.deadline() == START + 30.0
    assert lookups.expire(START + 29.9) == []
    assert lookups.expire(START + 30.0) == [H1_B2]
    assert lookups.deadline() == START + 31.0
    assert lookups.expire(START + 31.5) == [H1_B3]
    assert lookups.all() == [H2_B3, GREEN]
    assert lookups.deadline() == START + 32.0
    assert lookups.expire(START + 40.0) == [H2_B3, GREEN]
    assert lookups.deadline() is None
    assert lookups.expire(START + 90.0) == []
    assert not lookups


def test_use_prolongs_an_answer_that_stands_and_no_other() -> None:
    lookups = filled()
    lookups.used(H1_B2, START + 20.0)
    lookups.used(Lookup("h9", "blue", B2), START + 20.0)
    assert len(lookups) == 4
    assert lookups.expire(START + 33.0) == [H1_B3, H2_B3, GREEN]
    assert lookups.deadline() == START + 50.0


def test_a_look_before_the_deadline_does_no_work() -> None:
    lookups = Lookups(30.0, 5.0)
    assert lookups.expire(START) == []
    lookups.add(H1_B2, negative=False, now=START)
    lookups.used(H1_B2, START + 20.0)
    assert lookups.expire(START + 29.0) == []
    assert lookups.deadline() == START + 30.0  # where all answers are looked at, and the next time is found
    assert lookups.expire(START + 30.0) == []
    assert lookups.deadline() == START + 50.0


def test_intent_turns_an_answer_into_a_negative_one_and_back() -> None:
    lookups = filled()
    lookups.used(H1_B3, START + 29.0)
    lookups.used(GREEN, START + 29.0)
    lookups.set_negative(H1_B3, negative=True)
    lookups.set_negative(GREEN, negative=True)
    lookups.set_negative(GREEN, negative=False)
    assert lookups.expire(START + 32.0) == [H1_B2, H2_B3]
    assert lookups.deadline() == START + 34.0
    lookups.add(H2_B3, negative=True, now=START + 31.0)
    assert lookups.deadline() == START + 34.0  # an earlier time stays
    assert lookups.expire(START + 36.0) == [H1_B3, H2_B3]
    assert lookups.deadline() == START + 59.0


def test_answers_are_found_by_address_prefix_network_and_host() -> None:
    lookups = filled()
    lookups.add(Lookup("h1", "blue", V6), negative=False, now=START)
    assert set(lookups.about("blue", B3)) == {H1_B3, H2_B3}
    assert set(lookups.about("blue", V6)) == {Lookup("h1", "blue", V6)}
    assert set(lookups.about("blue", IPv4Network("10.0.0.2/32"))) == {H1_B2}
    assert set(lookups.about("blue")) == {H1_B2, H1_B3, H2_B3, Lookup("h1", "blue", V6)}
    assert list(lookups.about("blue", IPv4Address("10.0.0.9"))) == []
    assert list(lookups.about("red")) == []
    assert set(lookups.of_host("h1", "green")) == {GREEN}
    assert set(lookups.of_host("h2", "blue")) == {H2_B3}


def test_a_dropped_answer_is_about_nothing_any_more() -> None:
    lookups = filled()
    lookups.drop(H1_B3)
    lookups.drop(H1_B3)
    assert H1_B3 not in lookups
    assert H2_B3 in lookups
    assert list(lookups.about("blue", B3)) == [H2_B3]
    for lookup in (H1_B2, H2_B3, GREEN):
        lookups.drop(lookup)
    assert lookups._askers == {}  # of 100,000 addresses nothing stays


# --- packets that wait --------------------------------------------------------------------------------


def test_64_packets_wait_for_a_switch_and_the_next_is_not_kept() -> None:
    held = HeldPackets()
    frames = [(100 + number % 2, bytes([number])) for number in range(64)]
    assert all(held.keep(1, port, frame) for port, frame in frames)
    assert held.keep(1, 100, b"one too many") is False
    assert held.keep(2, 100, b"of another switch")
    assert held.release(1) == frames
    assert held.release(1) == []
    assert held.release(2) == [(100, b"of another switch")]
