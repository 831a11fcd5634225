"""A queue for each network: fair by what items cost, in order within one, and what an empty queue leaves behind."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.fm.queues import FairQueues

_COSTS = st.integers(1, 40)
_ITEMS = st.lists(st.tuples(st.sampled_from("abc"), _COSTS), max_size=120)


@given(items=_ITEMS, quantum=st.integers(1, 50), fair=st.booleans())
def test_every_item_comes_once_and_in_its_keys_order(items: list[tuple[str, int]], quantum: int, fair: bool) -> None:
    queues: FairQueues[str, int] = FairQueues(quantum, fair=fair)
    for number, (key, _) in enumerate(items):
        queues.put(key, number)
    taken = []
    while (next_one := queues.take()) is not None:
        key, number = next_one
        assert items[number][0] == key
        taken.append(number)
        queues.charge(key, items[number][1])
    assert len(queues) == 0
    assert sorted(taken) == list(range(len(items)))
    for key in "abc":
        of_key = [number for number in taken if items[number][0] == key]
        assert of_key == sorted(of_key)
    if not fair:
        assert taken == sorted(taken)


@given(costs=st.lists(st.tuples(_COSTS, _COSTS), min_size=1, max_size=200), quantum=st.integers(1, 50))
def test_two_busy_keys_get_the_same_to_within_a_turn(costs: list[tuple[int, int]], quantum: int) -> None:
    queues: FairQueues[str, int] = FairQueues(quantum)
    for one, two in costs:
        queues.put("a", one)
        queues.put("b", two)
    served: Counter[str] = Counter()
    most = max(max(pair) for pair in costs)
    while queues.waiting("a") and queues.waiting("b"):
        taken = queues.take()
        assert taken is not None
        queues.charge(*taken)
        served[taken[0]] += taken[1]
        assert abs(served["a"] - served["b"]) <= 2 * (quantum + most)


@given(backlog=st.integers(1, 500), cost=st.integers(1, 1000))
def test_a_new_key_waits_for_one_turn_at_most(backlog: int, cost: int) -> None:
    queues: FairQueues[str, int] = FairQueues(64)
    for number in range(backlog):
        queues.put("busy", number)
    for _ in range(min(3, backlog)):
        taken = queues.take()
        assert taken is not None
        queues.charge(taken[0], cost)
    queues.put("small", 0)
    before = 0
    while (taken := queues.take()) is not None and taken[0] != "small":
        queues.charge("busy", cost)
        before += cost
    assert taken == ("small", 0)
    assert before <= 64 + cost


def test_a_key_that_may_not_go_keeps_its_place_and_delays_no_other() -> None:
    queues: FairQueues[str, int] = FairQueues(10)
    queues.put("a", 1)
    queues.put("b", 2)
    assert queues.take(lambda key: key != "a") == ("b", 2)
    queues.charge("b", 5)
    assert queues.take(lambda key: False) is None
    assert queues.take() == ("a", 1)


def test_no_quantum_is_refused() -> None:
    with pytest.raises(ValueError, match="gives no queue a turn"):
        FairQueues(0)


# --- turns, step by step --------------------------------------------------------------------------------


def served(queues: FairQueues[str, float], turns: int) -> str:
    """The keys of the next items; an item is what it costs."""
    found = ""
    for _ in range(turns):
        taken = queues.take()
        if taken is None:
            break
        found += taken[0]
        queues.charge(*taken)
    return found


def queues_of(quantum: float = 10, **items: list[float]) -> FairQueues[str, float]:
    queues: FairQueues[str, float] = FairQueues(quantum)
    for key, costs in items.items():
        for cost in costs:
            queues.put(key, cost)
    return queues


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        ([10, 10, 10], [10, 10, 10], "ababab"),
        ([4] * 6, [4] * 6, "aaabbbaabbab"),  # a turn goes on while credit is left: 10, 6, 2, then -2
        ([30] * 4, [10] * 9, "abbbabbbabbba"),  # who has used three turns waits for three
        ([25] * 3, [10] * 6, "abbabbbab"),  # the rest of a turn counts
        ([0] * 12, [1] * 12, "a" * 10 + "b" * 10 + "aabb"),  # an item costs one at least
        ([0.5] * 12, [1] * 12, "a" * 10 + "b" * 10 + "aabb"),
        ([35] * 2, [], "aa"),
    ],
)
def test_each_key_has_its_turn_by_what_it_costs(a: list[float], b: list[float], order: str) -> None:
    assert served(queues_of(a=a, b=b), 100) == order


def test_a_turn_is_64_unless_it_is_said() -> None:
    queues: FairQueues[str, float] = FairQueues()
    for key in "ab":
        for _ in range(65):
            queues.put(key, 1)
    assert served(queues, 130) == "a" * 64 + "b" * 64 + "ab"
    assert FairQueues(0.5).quantum == 0.5


def test_one_queue_for_all_serves_who_came_first_whatever_it_costs() -> None:
    queues: FairQueues[str, float] = FairQueues(10, fair=False)
    for key, cost in (("a", 100), ("b", 1), ("a", 1), ("b", 1)):
        queues.put(key, cost)
    assert (len(queues), queues.waiting("a"), queues.waiting("b"), queues.waiting("c")) == (4, 2, 2, 0)
    assert served(queues, 10) == "abab"


def test_what_waits_is_counted_by_key() -> None:
    queues = queues_of(a=[1, 1], b=[1])
    assert (len(queues), queues.waiting("a"), queues.waiting("b"), queues.waiting("c")) == (3, 2, 1, 0)
    assert queues.take() == ("a", 1)
    assert (len(queues), queues.waiting("a")) == (2, 1)


def test_a_key_that_may_not_go_gains_nothing_by_waiting() -> None:
    queues = queues_of(a=[10, 10], b=[10] * 4)
    for _ in range(3):
        taken = queues.take(lambda key: key != "a")
        assert taken == ("b", 10)
        queues.charge(*taken)
    assert served(queues, 3) == "aba"


def test_a_key_that_comes_back_has_the_debt_that_it_left_with() -> None:
    queues = queues_of(a=[30], b=[10] * 6)
    assert served(queues, 2) == "ab"
    queues.put("a", 10)
    assert served(queues, 10) == "bbabbb"


def test_a_key_that_comes_back_has_no_credit_of_its_last_turn() -> None:
    queues = queues_of(a=[9.5], b=[10, 10])
    assert served(queues, 2) == "ab"
    queues.put("a", 1)
    assert served(queues, 2) == "ba"


def test_debts_are_off_when_nothing_waits_and_nothing_is_under_way() -> None:
    queues = queues_of(a=[30])
    assert served(queues, 1) == "a"
    queues.put("a", 10)
    queues.put("b", 10)
    assert served(queues, 2) == "ab"


def test_an_item_under_way_keeps_the_debt_of_its_key() -> None:
    queues = queues_of(a=[30, 1])
    taken = [queues.take(), queues.take()]
    assert taken == [("a", 30), ("a", 1)]
    queues.charge("a", 30)  # the other one is under way still
    queues.put("a", 10)
    queues.put("b", 10)
    assert served(queues, 2) == "ba"


def test_two_items_of_an_empty_queue_may_be_under_way() -> None:
    queues = queues_of(a=[1, 2], b=[10])
    assert [queues.take(), queues.take()] == [("a", 1), ("a", 2)]
    queues.charge("a", 1)
    queues.charge("a", 2)
    assert served(queues, 2) == "b"


def test_an_item_under_way_keeps_the_credit_of_its_turn() -> None:
    queues = queues_of(a=[1], b=[10])
    assert queues.take() == ("a", 1)
    assert queues.take() == ("b", 10)
    queues.charge("b", 10)
    queues.put("b", 10)
    queues.put("a", 1)
    queues.charge("a", 1)
    assert served(queues, 2) == "ab"
