"""The shape of a class that a user has written: methods that are missing, and methods that cannot be called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hoverboard.contract.checks.class_shape import Method, methods_of, shape_fault
from hoverboard.contract.checks.similar_names import listed, name_step, similar

DECIDE = (Method("decide", ("host", "now"), required=True, items=False), Method("reset", ()))


class Base:
    """A base class with a method that every class must have in its own form."""

    def decide(self, host: str, now: float) -> int:
        return 0

    def reset(self) -> None: ...

    def _own(self) -> None: ...


class Good(Base):
    def decide(self, host: str, now: float, more: int = 3) -> int:
        return more


class Grown(Good):
    """It has the method from a class of the same author."""


class Any_(Base):
    def decide(self, *args: Any) -> int:
        return 1


class Static(Base):
    @staticmethod
    def decide(host: str, now: float) -> int:  # type: ignore[override]
        return 1


class OfClass(Base):
    @classmethod
    def decide(cls, host: str, now: float) -> int:  # type: ignore[override]
        return 1


class Callable_(Base):
    decide = max  # type: ignore[assignment]


class Bare(Base):
    pass


class Slip(Base):
    def decde(self, host: str, now: float) -> int:
        return 1


class Short(Base):
    def decide(self, host: str) -> int:  # type: ignore[override]
        return 1


class Selfless(Base):
    def decide(host, now):  # type: ignore[no-untyped-def,override] # noqa: N805
        return 1


class Async(Base):
    async def decide(self, host: str, now: float) -> int:  # type: ignore[override]
        return 1


class Lazy(Base):
    def decide(self, host: str, now: float) -> Iterator[int]:  # type: ignore[override]
        yield 1


class Number(Base):
    decide = 3  # type: ignore[assignment]


class Keyword(Base):
    def decide(self, *, host: str, now: float) -> int:  # type: ignore[override]
        return 1


class Optional_(Good):
    def reset(self, hard: bool) -> None:  # type: ignore[override]
        ...


@pytest.mark.parametrize("kind", [Good, Grown, Any_, Static, OfClass, Callable_])
def test_a_class_whose_methods_can_be_called_is_fine(kind: type[Any]) -> None:
    assert shape_fault(kind, DECIDE, Base) is None


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Bare, "class 'Bare' has no method decide(host, now)"),
        (Slip, "class 'Slip' has no method decide(host, now); is `decde` meant to be it?"),
        (Short, "Short.decide(self, host) cannot be called as decide(self, host, now)"),
        (Selfless, "Selfless.decide(host, now) cannot be called as decide(self, host, now)"),
        (Keyword, "Keyword.decide(self, host, now) cannot be called as decide(self, host, now)"),
        (Async, "Async.decide is `async`, and is called without `await`"),
        (Lazy, "Lazy.decide has a `yield`, so it returns no answer"),
        (Number, "Number.decide is no method, but int"),
        (Optional_, "Optional_.reset(self, hard) cannot be called as reset(self)"),
    ],
)
def test_the_first_fault_of_a_class_is_told(kind: type[Any], what: str) -> None:
    fault = shape_fault(kind, DECIDE, Base)
    assert fault is not None
    assert fault.what == what
    with open(__file__, encoding="utf-8") as file:
        lines = file.readlines()
    if fault.line is not None:
        assert "def " in lines[fault.line - 1]
    assert (fault.line is None) == (kind in (Bare, Slip, Number))


def test_without_a_base_every_class_of_its_line_counts() -> None:
    assert shape_fault(Bare, DECIDE) is None
    assert shape_fault(object, DECIDE) is not None


def test_the_methods_of_a_base_are_its_public_ones() -> None:
    assert methods_of(Base, "decide", items=False) == list(DECIDE[:1]) + [Method("reset", (), items=False)]
    assert methods_of(Base, items=True) == [Method("decide", ("host", "now")), Method("reset", ())]


def test_a_generator_of_the_base_may_be_one_in_a_class_that_derives_from_it() -> None:
    class Rates:
        def rates(self) -> Iterator[int]:
            yield 1

    assert methods_of(Rates, items=False) == [Method("rates", (), items=True)]


def test_a_name_that_may_be_meant_is_the_most_similar_one() -> None:
    assert similar("web1", ["db", "web-1", "web-2"]) == "web-1"
    assert similar("x", ["db", "web-1"]) is None
    assert name_step("web1", ["db", "web-1"]) == "did you mean `web-1`? use one of: db, web-1"
    assert name_step("x", iter(["db"])) == "use one of: db"
    assert name_step("x", []) == "there is none"
    assert listed("abcdefgh") == "a, b, c, d, e, f, g, h"
    assert listed("abcdefghi") == "a, b, c, d, e, f, g, h, ..."
