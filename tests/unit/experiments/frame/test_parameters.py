"""Parameters: words and YAML values become typed ones, and what is not allowed is refused."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.frame import parameters
from experiments.frame.parameters import Parameter, Value
from hoverboard.contract.errors import InputError

FLOAT = Parameter("x", 1.5, "s", "", least=0.5, most=2.0)
WHOLE = Parameter("x", 3, "", "", least=2)
FLAG = Parameter("x", False, "", "")
WORD = Parameter("x", "a", "", "", choices=("a", "b"))
ANY = Parameter("x", "a", "", "")
NUMBERS = Parameter("x", (1, 2), "VMs", "", least=1, most=9)
SHARES = Parameter("x", (0.5,), "", "")
WORDS = Parameter("x", ("a",), "", "", choices=("a", "b"))
FREE = Parameter("x", ("a", "z"), "", "")


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (FLOAT, "2", 2.0), (FLOAT, 0.5, 0.5), (FLOAT, " 1e0 ", 1.0),
        (WHOLE, "2", 2), (WHOLE, 7.0, 7), (WHOLE, "1e3", 1000),
        (FLAG, "yes", True), (FLAG, "TRUE", True), (FLAG, "on", True), (FLAG, 1, True), (FLAG, True, True),
        (FLAG, "no", False), (FLAG, "False", False), (FLAG, "off", False), (FLAG, 0, False),
        (WORD, "b", "b"), (WORD, " a ", "a"), (ANY, "whatever", "whatever"), (ANY, 7, "7"),
        (NUMBERS, "3,1", (3, 1)), (NUMBERS, [9], (9,)), (SHARES, "1,2.5", (1.0, 2.5)),
        (WORDS, "b,a", ("b", "a")), (WORDS, ["a"], ("a",)), (FREE, "x, y", ("x", "y")),
    ],
)  # fmt: skip
def test_what_is_given_becomes_the_type_of_the_default(parameter: Parameter, given: Any, value: Value) -> None:
    found = parameter.read(given)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, tuple):
        assert [type(one) for one in found] == [type(one) for one in value]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameter", "given"),
    [
        (FLOAT, "0.49"), (FLOAT, "2.01"), (FLOAT, "long"), (WHOLE, "1"), (WHOLE, "2.5"), (WHOLE, ""),
        (FLAG, "maybe"), (FLAG, 2), (WORD, "c"), (NUMBERS, "1,0"), (NUMBERS, "9,10"), (NUMBERS, "1,"), (NUMBERS, []),
        (NUMBERS, 7), (WORDS, "a,c"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_with_what_is(parameter: Parameter, given: Any) -> None:
    with pytest.raises(InputError, match="is not a value of x") as caught:
        parameter.read(given)
    assert (caught.value.where, caught.value.next_step) == ("x", f"give {parameter.allowed()}")
    assert repr(given) in str(caught.value) or isinstance(parameter.default, tuple)


@pytest.mark.parametrize(
    ("parameter", "allowed", "shown"),
    [
        (FLOAT, "a number from 0.5 to 2 (s)", "1.5"),
        (WHOLE, "a whole number from 2", "3"),
        (Parameter("x", 3, "", "", most=2), "a whole number to 2", "3"),
        (FLAG, "yes or no", "False"),
        (WORD, "one of a, b", "a"),
        (ANY, "a word", "a"),
        (NUMBERS, "a whole number from 1 to 9 (VMs); several by comma", "1,2"),
        (SHARES, "a number; several by comma", "0.5"),
        (WORDS, "one of a, b; several by comma", "a"),
        (FREE, "a word; several by comma", "a,z"),
    ],
)
def test_what_is_allowed_and_the_default_in_words(parameter: Parameter, allowed: str, shown: str) -> None:
    assert (parameter.allowed(), parameter.shown()) == (allowed, shown)


def test_values_are_what_was_given_else_the_quick_ones_else_the_defaults() -> None:
    several = (Parameter("a", 1, "", "", quick=0), Parameter("b", 2, "", ""), Parameter("c", 3, "", "", quick=30))
    assert parameters.values(several, {"c": "7"}, quick=False) == {"a": 1, "b": 2, "c": 7}
    assert parameters.values(several, {"c": "7"}, quick=True) == {"a": 0, "b": 2, "c": 7}
    with pytest.raises(InputError, match="no parameter d") as caught:
        parameters.values(several, {"d": 1}, quick=False)
    assert caught.value.next_step == "it has: a, b, c"
    with pytest.raises(InputError) as caught:
        parameters.values((), {"d": 1}, quick=False)
    assert caught.value.next_step == "it has: none"


def test_assignments() -> None:
    assert parameters.assignments(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for word in ("a", "=1"):
        with pytest.raises(InputError, match="is not NAME=VALUE"):
            parameters.assignments([word])


def test_values_of_a_type() -> None:
    given = {"one": 3, "several": (1, 2.5), "names": ("a", "b")}
    assert (parameters.number(given, "one"), parameters.whole(given, "one")) == (3.0, 3)
    assert isinstance(parameters.number(given, "one"), float)
    assert parameters.numbers(given, "several") == (1.0, 2.5)
    assert parameters.words(given, "names") == ("a", "b")
    for wrong in (parameters.number, parameters.whole):
        with pytest.raises(AssertionError):
            wrong(given, "names")
    for wrong_several in (parameters.numbers, parameters.words):
        with pytest.raises(AssertionError):
            wrong_several(given, "one")
