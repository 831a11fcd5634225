"""The offload policy: thresholds, budget, idle expiry, and what a policy of one's own may and may not decide."""

from __future__ import annotations

from collections.abc import Sequence

from controllers.testing.world import START
from controllers.vmc.offload.policy import Decision, Offload, OffloadPolicy, OffloadSettings, Pair, Sent

AB, CD, EF, GH = Pair("a", "b"), Pair("c", "d"), Pair("e", "f"), Pair("g", "h")


def policy_of(threshold: float = 20_000, idle: float = 30.0, **more: object) -> OffloadPolicy:
    return OffloadPolicy(OffloadSettings(threshold, idle_expiry=idle, **more))  # type: ignore[arg-type]


def tell(policy: OffloadPolicy, usage: list[tuple[Pair, int]], seconds: float, now: float) -> list[Pair]:
    decision = policy.report([Sent(pair, "h1", octets) for pair, octets in usage], seconds, now)
    assert not decision.stop
    return list(decision.start)


def test_threshold_is_a_rate_and_must_be_passed() -> None:
    policy = policy_of()
    assert tell(policy, [(AB, 2_500)], 1.0, now=START + 1.0) == []  # 20 kb/s exactly
    assert tell(policy, [(AB, 2_501)], 1.0, now=START + 2.0) == [AB]
    assert tell(policy, [(AB, 2_501)], 1.0, now=START + 3.0) == []  # stands already
    assert tell(policy_of(), [(AB, 2_501)], 2.0, now=START + 1.0) == []
    assert tell(policy_of(), [(AB, 2_501)], 0.1, now=START + 1.0) == [AB]


def test_kept_while_it_sends_anything_then_expires() -> None:
    policy = policy_of()
    tell(policy, [(AB, 10_000)], 1.0, now=START)
    tell(policy, [(AB, 1)], 1.0, now=START + 29.0)
    assert policy.expire(START + 30.0) == []
    tell(policy, [(AB, 0)], 1.0, now=START + 58.0)
    assert policy.deadline() is not None
    assert policy.expire(START + 58.9) == []
    assert policy.expire(START + 59.0) == [AB]
    assert policy.deadline() is None
    assert not policy.active


def test_deadline_is_never_late() -> None:
    policy = policy_of(0, 10)
    tell(policy, [(AB, 1)], 1.0, now=START)
    tell(policy, [(Pair("c", "d"), 1)], 1.0, now=START + 5.0)
    assert policy.deadline() == START + 10.0
    tell(policy, [(AB, 1)], 1.0, now=START + 8.0)
    assert policy.expire(START + 10.0) == []
    assert policy.deadline() == START + 15.0


def test_rates_fall_to_zero_when_reports_stop() -> None:
    policy = policy_of()
    tell(policy, [(AB, 10_000)], 1.0, now=START)
    assert [rate for *_, rate in policy.rates(START + 1.0)] == [80_000]
    assert [rate for *_, rate in policy.rates(START + 3.0)] == [0.0]


def decide(policy: OffloadPolicy, now: float, *usage: tuple[Pair, int]) -> tuple[list[Pair], list[Pair]]:
    decision = policy.report([Sent(pair, "h1", octets) for pair, octets in usage], 1.0, now)
    return list(decision.start), list(decision.stop)


def test_the_largest_first_within_the_budget_and_a_bigger_one_displaces_the_smallest() -> None:
    policy = policy_of(budget=2, minimum_lifetime=5.0)
    assert decide(policy, START, (AB, 3_000), (CD, 9_000), (EF, 6_000)) == ([CD, EF], [])
    assert decide(policy, START + 1.0, (AB, 8_000), (CD, 9_000), (EF, 6_000)) == ([], [])  # too young to be displaced
    assert decide(policy, START + 6.0, (AB, 6_000), (CD, 9_000), (EF, 6_000)) == ([], [])  # not bigger
    assert decide(policy, START + 7.0, (AB, 8_000), (CD, 9_000), (EF, 6_000)) == ([AB], [EF])
    assert policy.standing("h1") == {AB, CD}
    # Another host has a budget of its own.
    assert policy.report([Sent(EF, "h2", 6_000)], 1.0, START + 7.0).start == (EF,)


def test_an_offload_below_the_keep_threshold_is_idle() -> None:
    policy = policy_of(keep_bps=8_000.0)
    decide(policy, START, (AB, 10_000))
    decide(policy, START + 20.0, (AB, 900))
    assert policy.expire(START + 30.0) == [AB]
    decide(policy, START + 40.0, (AB, 10_000))
    decide(policy, START + 60.0, (AB, 1_100))
    assert policy.expire(START + 70.0) == []
    assert policy.expire(START + 90.0) == [AB]


def test_the_minimum_lifetime_also_bounds_expiry() -> None:
    policy = policy_of(idle=1.0, minimum_lifetime=5.0)
    decide(policy, START, (AB, 10_000))
    assert policy.expire(START + 2.0) == []
    assert policy.expire(START + 5.0) == [AB]


def test_of_pairs_alike_the_first_by_name_is_offloaded() -> None:
    policy = policy_of(budget=2)
    assert decide(policy, START, (EF, 3_000), (CD, 3_000), (AB, 3_000)) == ([AB, CD], [])
    assert decide(policy_of(), START, (EF, 3_000), (AB, 4_000), (CD, 3_000)) == ([AB, CD, EF], [])


def test_several_are_displaced_the_smallest_first_and_no_more_than_there_is_room_for() -> None:
    policy = policy_of(budget=3, minimum_lifetime=5.0)
    assert decide(policy, START, (AB, 5_000), (CD, 3_000), (EF, 4_000)) == ([AB, EF, CD], [])
    others = [(Pair(f"x{number}", "y"), 4_500 + number) for number in range(4)]
    start, stop = decide(policy, START + 5.0, (AB, 5_000), (CD, 3_000), (EF, 4_000), *others)
    assert start == [Pair("x3", "y"), Pair("x2", "y")]
    assert stop == [CD, EF]
    assert policy.standing("h1") == {AB, Pair("x2", "y"), Pair("x3", "y")}


def test_an_offload_whose_pair_has_stopped_sending_is_displaced_by_any() -> None:
    policy = policy_of(budget=1, minimum_lifetime=5.0)
    decide(policy, START, (AB, 9_000))
    assert decide(policy, START + 10.0, (CD, 2_501)) == ([CD], [AB])


def test_a_rate_is_believed_for_two_reports_and_a_half_second() -> None:
    offload = Offload("h1", START, START, START, 80_000.0, 4.0)
    assert offload.rate(START + 8.5) == 80_000.0
    assert offload.rate(START + 8.75) == 0.0


def test_a_pair_that_sent_nothing_is_as_if_it_were_not_in_the_report() -> None:
    seen: list[tuple[Pair, float]] = []

    class Watching(OffloadPolicy):
        def decide(self, host: str, candidates: Sequence[tuple[Pair, float]], now: float) -> Decision:
            seen.extend(candidates)
            return super().decide(host, candidates, now)

    policy = Watching(OffloadSettings())
    decide(policy, START, (AB, 10_000), (CD, 0))
    assert seen == [(AB, 80_000.0)]
    decide(policy, START + 1.0, (AB, 0))
    assert policy.active[AB] == Offload("h1", START, START, START, 80_000.0, 1.0)
    decide(policy, START + 2.0, (AB, 1))
    assert policy.active[AB] == Offload("h1", START, START + 2.0, START + 2.0, 8.0, 1.0)


def test_what_sends_the_keep_threshold_exactly_is_idle() -> None:
    policy = policy_of(keep_bps=8_000.0)
    decide(policy, START, (AB, 10_000))
    decide(policy, START + 1.0, (AB, 1_000))
    assert policy.active[AB].last_used == START
    decide(policy, START + 2.0, (AB, 1_001))
    assert policy.active[AB].last_used == START + 2.0


def test_an_adopted_offload_begins_its_age_and_sends_nothing_yet() -> None:
    policy = policy_of()
    policy.adopt(AB, "h1", START)
    assert policy.active == {AB: Offload("h1", START, START, START, 0.0, 0.0)}
    policy.adopt(AB, "h2", START + 5.0)
    assert policy.active[AB].host == "h1"
    assert policy.standing("h1") == {AB}
    assert policy.deadline() == START + 30.0
    policy.drop(AB)
    policy.drop(AB)
    assert (policy.active, policy.standing("h1")) == ({}, frozenset())


def test_a_policy_of_ones_own_starts_only_candidates_once_and_stops_only_what_stands() -> None:
    class Careless(OffloadPolicy):
        def decide(self, host: str, candidates: Sequence[tuple[Pair, float]], now: float) -> Decision:
            return Decision((AB, AB, EF, GH), (CD, GH, CD))

    policy = Careless(OffloadSettings())
    policy.adopt(CD, "h1", START)
    policy.adopt(EF, "h1", START)
    assert decide(policy, START, (AB, 1), (EF, 1)) == ([AB], [CD])
    assert set(policy.active) == {AB, EF}


def test_the_settings_are_those_of_the_documents_unless_they_are_given() -> None:
    settings = OffloadPolicy().settings
    assert (settings.threshold_bps, settings.keep_bps, settings.budget, settings.reports) == (20_000, 0, 0, "hosts")
    assert (settings.idle_expiry, settings.minimum_lifetime) == (30, 2)


def test_a_look_before_the_deadline_does_no_work() -> None:
    policy = policy_of()
    assert policy.expire(START) == []
    decide(policy, START, (AB, 10_000))
    decide(policy, START + 20.0, (AB, 10_000))
    assert policy.expire(START + 29.0) == []
    assert policy.deadline() == START + 30.0  # where all offloads are looked at, and the next time is found
    assert policy.expire(START + 30.0) == []
    assert policy.deadline() == START + 50.0
