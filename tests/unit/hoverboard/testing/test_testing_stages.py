"""The helpers for tests of a stage: the clock stands still, and defaults are those of the documents."""

from __future__ import annotations

from hoverboard.testing.stages import BEGIN, HERE, THERE, Clock, context, packet


def test_the_clock_goes_only_when_it_is_set() -> None:
    clock = Clock()
    assert (clock(), clock(), clock.boot()) == (BEGIN, BEGIN, int(BEGIN * 1e9))
    clock.now += 2.5
    clock.slept = 7
    assert (clock(), clock.boot()) == (BEGIN + 2.5, 7 + int((BEGIN + 2.5) * 1e9))


def test_a_context_takes_what_it_is_given() -> None:
    clock = Clock()
    made = context(clock, number=3, vm="db-1")
    assert (made.vm, made.host, made.local, made.number) == ("db-1", "h1", HERE, 3)
    assert (made.clock(), made.boot_clock()) == (clock.now, clock.boot())
    assert context().clock() == BEGIN


def test_a_packet_is_plain_unless_the_test_says_otherwise() -> None:
    made = packet(b"frame")
    assert (made.frame, made.direction, made.peer, made.chain, made.vni) == (b"frame", "egress", THERE, 0, 7)
    made = packet(b"", "ingress", peer=None, chain=2, ticket="t", vni=9)
    assert (made.direction, made.peer, made.chain, made.ticket, made.vni) == ("ingress", None, 2, "t", 9)
