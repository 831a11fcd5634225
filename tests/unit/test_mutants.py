"""Mutation testing is tested too: which changes it makes, and that the list of equivalent ones names real mutants."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.mutation import equivalent, forking, verdicts
from tests.mutation.equivalent import Equivalent
from tests.mutation.mutants import mutants, places

CHECKOUT = Path(__file__).parents[2]


def changes(source: str) -> set[str]:
    return {mutant.change for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {"< -> <="}),
        ("x = a is not b", {"is not -> is"}),
        ("x = a == 'up'", {"== -> !=", "'up' -> 'up~'"}),
        ("x = a and b", {"a and b -> ((a) or (b))", "a and b -> ((b))", "a and b -> ((a))"}),
        ("x = not a", {"not a -> (a)"}),
        ("x = a + b", {"+ -> -"}),
        ("x = min(a, b)", {"min -> max"}),
        ("x = f(a, b)", {"a, b -> b, a"}),
        ("x = 3", {"3 -> 4"}),
        ("x = True", {"True -> False"}),
        ("x = b if a else c", {"a -> (not (a))"}),
        ("def f(a):\n    go(a)", {"go(a) -> pass"}),
        ("def f(self):\n    self.x = a\n    go()", {"self.x = a -> pass", "go() -> pass", " -> return None"}),
        ("def f(a):\n    raise E\n", {"raise E -> pass"}),
        ("def f(a):\n    if a:\n        raise E", {"a -> (not (a))", "raise E -> pass", " -> return None"}),
        ("def f(a):\n    '''Text.'''\n    return a", {"return a -> return None"}),
        ("try:\n    pass\nexcept E:\n    pass", {"E -> ()"}),
        ("for x in y:\n    break", {"break -> pass"}),
        ("with lock:\n    go()", {"with lock: -> if True:", "go() -> pass"}),
        ("async with f(a) :\n    go()", {"async with f(a) : -> if True:", "go() -> pass"}),
        ("with one, two as x, three:\n    go(x)", {"one, -> ", ", three -> ", "go(x) -> pass"}),
        ("with f(a) as x:\n    go(x)", {"go(x) -> pass"}),
        ("x = f(a, b=c)", {", b=c -> "}),
        ("x = f(b=c, **more)", {"b=c, -> "}),
        ("x = f(\n    b=c,\n)", {"b=c, -> "}),
        ("x = max(a, default=b)", {"max -> min", ", default=b -> "}),
    ],
)
def test_each_kind_of_change(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'''A docstring: 1 < 2.'''",
        "x: dict[str, int | None]",
        "log.warning('%d', a + 1)",
        "raise E(f'{a} < {b}', 1)",
        "assert a < b",
        "if TYPE_CHECKING:\n    x = 1",
        "x = f'{a + 1}'",
        "x = option(help='a', metavar='B', where='c')",
    ],
)
def test_text_for_people_and_types_stay_as_they_are(source: str) -> None:
    assert changes(source) <= {"raise E(f'{a} < {b}', 1) -> pass"}


def test_a_mutant_names_the_outermost_function_and_the_head_of_its_statement() -> None:
    source = """
class A:
    @property
    def f(self):
        def g(x):
            if (
                x < 1
            ):
                go()
"""
    (mutant,) = (each for each in mutants(source) if each.change == "< -> <=")
    assert (mutant.function, mutant.first, mutant.line, mutant.lines) == ("A.f", 3, 7, (6, 8))


def test_applying_a_mutant_changes_its_place_alone_behind_letters_of_two_bytes() -> None:
    source = "x = 'ü'\ny = a < b\nz = c < d\n"
    (mutant,) = (each for each in mutants(source) if each.line == 2)
    assert mutant.apply(source) == "x = 'ü'\ny = a <= b\nz = c < d\n"


def test_compiled_functions_are_known() -> None:
    (mutant,) = (each for each in mutants("@compiled\ndef f(a):\n    return a + 1\n") if each.change == "+ -> -")
    assert mutant.compiled


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "passed"), (1, "killed"), (2, "killed"), (3, "unclear"), (4, "killed"), (5, "unclear"), (-9, "killed")],
)
def test_only_what_a_mutant_breaks_counts_as_killed(code: int, verdict: str) -> None:
    assert verdicts.judged(lambda limit: code, (1, 2)) == verdict


def test_a_time_out_is_tried_once_more_with_the_longer_limit() -> None:
    limits = []

    def run(limit: float) -> int | None:
        limits.append(limit)
        return None if limit < 60 else 0

    assert verdicts.judged(run, (5, 60)) == "passed"
    assert limits == [5, 60]
    assert verdicts.judged(lambda limit: None, (5, 60)) == "hung"


def test_a_process_that_does_not_end_is_a_time_out_and_one_that_fills_the_memory_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert forking.in_child(lambda: signal.pause() or 0, 0.01) is None
    monkeypatch.setattr(forking, "MEMORY", 0)
    assert forking.in_child(lambda: signal.pause() or 0, 60) == -signal.SIGKILL


def test_an_entry_excuses_one_survivor_of_its_line_and_change() -> None:
    one = Equivalent("a.py", "x = 1", "1 -> 2", "any number is as good")
    excuses = verdicts.Excuses([one])
    assert not excuses.take("x = 1", "x = 1 -> pass")
    assert excuses.unused() == [("x = 1", "1 -> 2")]
    assert excuses.take("    x = 1", "1 -> 2")
    assert not excuses.take("x = 1", "1 -> 2")
    assert excuses.unused() == []
    twice = verdicts.Excuses([one, one])
    assert [twice.take("x = 1", "1 -> 2") for _ in range(3)] == [True, True, False]


def test_each_equivalent_mutant_names_a_line_and_a_change_that_are_there_and_a_reason() -> None:
    entries = equivalent.read()
    there = {file: places((CHECKOUT / file).read_text()) for file in {entry.file for entry in entries}}
    assert [entry for entry in entries if (entry.line, entry.change) not in there[entry.file]] == []
    assert [entry.change for entry in entries if len(entry.reason.split()) < 4] == []
