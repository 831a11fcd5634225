"""Offload policy, pure; and what the controller core makes of usage reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from control_plane_world import START, World, hoverboard, place, ready, vm

from controllers.vmc.offload import OffloadPolicy, OffloadSettings, Pair, Sent
from controllers.vmc.policies import load_policy
from hoverboard.contract.errors import InputError
from hoverboard.contract.pipeline import Kind, kind_of

AB = Pair("a", "b")
B1, B2, B3 = vm("b1", "blue", "h1", 2), vm("b2", "blue", "h2", 3), vm("b3", "blue", "h1", 4)


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


def offloaded(world: World) -> set[tuple[str, int]]:
    """(switch, destination underlay) of all offload flows in switches."""
    found = set()
    for name, table in world.tables().items():
        for flow in table.values():
            if kind_of(flow.cookie) is Kind.OFFLOAD:
                found.add((name, next(a.value for a in flow.actions if getattr(a, "field", "") == "tun_ipv4_dst")))
    return found


@pytest.fixture
def world() -> World:
    made = ready("hoverboard", hosts=3)
    place(made, B1, B2, B3)
    return made


def busy(world: World, reporter: str = "h1", sent: int = 1_000_000) -> None:
    world.usage(reporter, 7, "10.0.0.2", "10.0.0.3", sent)


def test_a_busy_pair_goes_host_to_host_one_way(world: World) -> None:
    busy(world)
    assert world.travel(B1, B2).hops == ("h1", "h2")
    assert world.travel(B2, B1).hops == ("h2", "hv1", "h1")
    assert world.travel(B3, B2).hops == ("h1", "hv1", "h2")


def test_taken_back_when_idle(world: World) -> None:
    busy(world)
    world.pass_time(31)
    assert world.travel(B1, B2).hops == ("h1", "hv1", "h2")
    assert world.core.counters["offloads_ended"] == 1


def test_only_the_sending_host_counts(world: World) -> None:
    busy(world, "hv1")
    busy(world, "h2")
    busy(world, "stranger")
    assert offloaded(world) == set()
    counters = world.core.counters
    assert counters["usage_reports_from_hoverboards"] == 1
    assert counters["usage_flows_not_sent_by_reporter"] == 1
    assert counters["usage_reports_from_strangers"] == 1


def test_pairs_on_one_host_and_unknown_addresses_are_left_alone(world: World) -> None:
    world.usage("h1", 7, "10.0.0.2", "10.0.0.4", 1_000_000)
    world.usage("h1", 7, "10.0.0.2", "10.0.0.77", 1_000_000)
    world.usage("h1", 9, "10.0.0.2", "10.0.0.3", 1_000_000)
    assert offloaded(world) == set()


def test_a_moved_receiver_is_followed_and_a_moved_sender_starts_anew(world: World) -> None:
    busy(world)
    ((_, first),) = offloaded(world)
    world.diff([vm("b2", "blue", "h3", 3)])
    ((_, second),) = offloaded(world)
    assert (first & 0xFF, second & 0xFF) == (2, 3)
    world.diff([vm("b2", "blue", "h1", 3)])
    assert offloaded(world) == set()
    world.diff([B2])
    busy(world)
    world.diff([vm("b1", "blue", "h3", 2)])
    assert offloaded(world) == set()
    assert not world.policy.active


def test_a_removed_vm_takes_its_offloads_along(world: World) -> None:
    busy(world)
    world.diff(remove=[("VM", "b2")])
    assert offloaded(world) == set()
    assert not world.core.offloading._pairs_of


def test_preprogrammed_needs_no_offloads() -> None:
    made = ready("preprogrammed")
    place(made, B1, B2)
    busy(made)
    assert not made.policy.active


def test_hoverboards_may_come_and_go_under_an_offload(world: World) -> None:
    busy(world)
    world.diff(remove=[("Hoverboard", hoverboard(1).name)])
    assert world.travel(B1, B2).hops == ("h1", "h2")


# --- budget, hysteresis, files ------------------------------------------------------------------------

CD, EF = Pair("c", "d"), Pair("e", "f")


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


def test_reports_of_hoverboards_count_where_the_policy_wants_them() -> None:
    made = ready("hoverboard", hosts=3)
    made.policy.settings = OffloadSettings(reports="hoverboards")
    place(made, B1, B2, B3)
    busy(made, "h1")
    assert not made.policy.active
    busy(made, "hv1")
    assert made.travel(B1, B2).hops == ("h1", "h2")


GOOD = """
from controllers.vmc.offload import Decision, OffloadPolicy

class Everything(OffloadPolicy):
    def decide(self, host, candidates, now):
        return Decision(tuple(pair for pair, rate in candidates))
"""


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    for reference in (f"{file}:Everything", str(file)):
        policy = load_policy(reference, OffloadSettings(threshold_bps=1e9))
        assert decide(policy, START, (AB, 1)) == ([AB], [])
    assert type(load_policy(None, OffloadSettings())) is OffloadPolicy


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "Mine", "there is no policy file"),
        ("x = (", "Mine", "raised SyntaxError"),
        ("1 / 0", "Mine", "raised ZeroDivisionError"),
        ("class Mine: pass", "Mine", "not a subclass of OffloadPolicy"),
        (GOOD, "Absent", "is not in it"),
        ("", "", "the file has none"),
        (GOOD + "\n    def __init__(self): pass\n", "Everything", "raised TypeError"),
    ],
)
def test_a_bad_policy_file_is_told(tmp_path: Path, text: str | None, name: str, message: str) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_policy(f"{file}:{name}" if name else str(file), OffloadSettings())
