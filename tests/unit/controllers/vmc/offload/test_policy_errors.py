"""Policies of one's own that do something wrong: counted, told with the line, and without harm to the controller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from controllers.vmc.offload.policy import Decision, OffloadPolicy, OffloadSettings, Pair, Sent
from controllers.vmc.offload.policy_file import changed, load_policy
from hoverboard.contract.errors import InputError
from hoverboard.contract.wire import fabric_pb2 as pb

AB, CD, EF = Pair("a", "b"), Pair("c", "d"), Pair("e", "f")
HEAD = "import sys\nfrom controllers import Decision, OffloadPolicy\n\nclass Mine(OffloadPolicy):\n"


def policy(tmp_path: Path, body: str, signature: str = "self, host, candidates, now") -> OffloadPolicy:
    """A policy whose `decide` stands in line 5 of its file, and has this body in line 6."""
    file = tmp_path / "mine.py"
    file.write_text(f"{HEAD}    def decide({signature}):\n        {body}\n")
    return load_policy(f"{file}:Mine", OffloadSettings(budget=1))


def report(one: OffloadPolicy, *pairs: Pair, now: float = 1.0) -> Decision:
    return one.report([Sent(pair, "h1", 10_000) for pair in pairs], 1.0, now)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return nothing", r"mine.py:6: Mine.decide\(\) raised NameError: name 'nothing' is not defined"),
        ("sys.exit('enough')", r"mine.py:6: Mine.decide\(\) raised SystemExit: enough"),
        ("return None", r"mine.py:5: Mine.decide\(\) returned NoneType, and not a Decision"),
        ("return candidates", r"mine.py:5: Mine.decide\(\) returned list, and not a Decision"),
        ("return Decision(start=5)", r"the policy\(\) raised TypeError: .* not iterable"),
        ("return Decision(start=[('x', 'y')])", r"mine.py:5: Mine.decide\(\) starts x -> y, which is no candidate"),
        ("return Decision(start=[7])", r"mine.py:5: Mine.decide\(\) starts 7, which is no candidate"),
        ("return Decision(stop=[('x', 'y')])", r"mine.py:5: Mine.decide\(\) stops x -> y, which is not offloaded"),
    ],
)
def test_what_a_policy_does_wrong_is_counted_and_told_with_its_line(tmp_path: Path, body: str, message: str) -> None:
    mine = policy(tmp_path, body)
    for count in (1, 2):
        assert report(mine, AB) == Decision()
        assert mine.errors.count == count
        assert re.fullmatch(rf"({tmp_path}/)?{message}", mine.errors.last or "")
    assert mine.active == {}
    # The log gets each error once.
    assert [len(mine.errors.take()), len(mine.errors.take())] == [1, 0]


def test_what_is_right_of_an_answer_is_done(tmp_path: Path) -> None:
    mine = policy(tmp_path, "return Decision(start=[('x', 'y'), *[pair for pair, _ in candidates]], stop=[('p', 'q')])")
    assert report(mine, AB).start == (AB,)
    assert mine.errors.count == 2
    fine = policy(tmp_path, "return Decision(start=[pair for pair, _ in candidates])")
    assert report(fine, AB, CD).start == (AB, CD)
    assert (fine.errors.count, fine.errors.last) == (0, None)


def test_offloads_stay_and_end_by_themselves_while_a_policy_fails(tmp_path: Path) -> None:
    mine = policy(tmp_path, "return Decision(start=[pair for pair, _ in candidates]) if now < 2 else nothing")
    report(mine, AB)
    report(mine, AB, CD, now=3.0)
    assert (set(mine.active), mine.errors.count) == ({AB}, 1)
    assert mine.expire(40.0) == [AB]


def test_an_exception_of_our_own_policy_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = OffloadPolicy(OffloadSettings(budget=1))
    monkeypatch.setattr(ours, "standing", lambda host: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(ours, AB)


# --- another policy while offloads are active -----------------------------------------------------------


def test_another_policy_takes_the_offloads_over_with_their_age(tmp_path: Path) -> None:
    ours = OffloadPolicy(OffloadSettings(threshold_bps=1))
    report(ours, AB, CD)
    report(ours, AB, now=5.0)
    mine = policy(tmp_path, "return Decision()")
    mine.take_over(ours)
    assert mine.active == ours.active
    assert mine.standing("h1") == {AB, CD}
    assert mine.deadline() == 31.0
    assert mine.expire(31.0) == [CD]


def test_a_shorter_expiry_counts_from_the_last_use(tmp_path: Path) -> None:
    ours = OffloadPolicy(OffloadSettings(threshold_bps=1))
    report(ours, AB)
    quick = OffloadPolicy(OffloadSettings(threshold_bps=1, idle_expiry=3.0))
    quick.take_over(ours)
    assert quick.deadline() == 4.0


def test_a_budget_that_is_lowered_is_kept_as_soon_as_offloads_are_old_enough() -> None:
    wide = OffloadPolicy(OffloadSettings(threshold_bps=1))
    wide.report([Sent(AB, "h1", 300), Sent(CD, "h1", 100), Sent(EF, "h1", 200)], 1.0, 1.0)
    narrow = OffloadPolicy(OffloadSettings(threshold_bps=1, budget=1))
    narrow.take_over(wide)
    again = [Sent(AB, "h1", 300), Sent(CD, "h1", 100), Sent(EF, "h1", 200)]
    assert narrow.report(again, 1.0, 2.0) == Decision()  # younger than minimum_lifetime
    assert narrow.report(again, 1.0, 3.0).stop == (CD, EF)  # the slowest first
    assert set(narrow.active) == {AB}
    assert narrow.report(again[:1], 1.0, 4.0) == Decision()


# --- orders ---------------------------------------------------------------------------------------------


def test_an_order_changes_all_settings_but_who_reports() -> None:
    before = OffloadSettings(reports="hoverboards")
    order = pb.OffloadSettings(threshold_bps=5, keep_bps=1, minimum_lifetime=2, idle_expiry=3, budget=4)
    assert changed(before, order) == OffloadSettings(5, 1, 2, 3, 4, "hoverboards")


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"threshold_bps": -1}, "SetOffload.threshold_bps"),
        ({"threshold_bps": float("nan")}, "SetOffload.threshold_bps"),
        ({"idle_expiry": float("inf")}, "SetOffload.idle_expiry"),
        ({"minimum_lifetime": -0.5}, "SetOffload.minimum_lifetime"),
        ({"threshold_bps": 5, "keep_bps": 5}, "SetOffload.keep_bps"),
    ],
)
def test_an_order_with_a_value_that_cannot_be_is_refused(values: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError) as refused:
        changed(OffloadSettings(), pb.OffloadSettings(**values))
    assert refused.value.where == where
