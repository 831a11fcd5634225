"""Parameters of an experiment: typed by their default, with a unit and a range, from words or from YAML. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hoverboard.contract.errors import InputError

Value = int | float | str | bool | tuple[int | float | str, ...]
Values = dict[str, Any]  # each of the type of its parameter's default


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that may be set.

    Attributes:
        default: also says the type: int, float, str, bool, or a tuple of one of the first three.
        unit: of a number; "" for what has none.
        what: what it is, in one line.
        quick: the default of a quick run; None: as always.
        least, most: the range of a number, or of each number of a tuple.
        choices: the only words allowed, or the only words of a tuple; (): any.
    """

    name: str
    default: Value
    unit: str
    what: str
    quick: Value | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, given: Any) -> Value:
        """The value from what stands on a command line or in YAML; InputError says what would do."""
        if isinstance(self.default, tuple):
            words = given.split(",") if isinstance(given, str) else given
            if not isinstance(words, Iterable) or not (parts := list(words)):
                raise self._error(given)
            return tuple(self._one(part, self.default[0]) for part in parts)
        return self._one(given, self.default)

    def _one(self, given: Any, like: Any) -> Any:
        value = self._typed(given, like)
        if isinstance(value, str):
            if self.choices and value not in self.choices:
                raise self._error(given)
        elif not isinstance(value, bool) and (
            (self.least is not None and value < self.least) or (self.most is not None and value > self.most)
        ):
            raise self._error(given)
        return value

    def _typed(self, given: Any, like: Any) -> Any:
        word = str(given).strip()
        if isinstance(like, str):
            return word
        if isinstance(like, bool):
            if word.lower() in ("true", "yes", "on", "1"):
                return True
            if word.lower() in ("false", "no", "off", "0"):
                return False
            raise self._error(given)
        try:
            number = float(word)
        except ValueError:
            raise self._error(given) from None
        if isinstance(like, float):
            return number
        if number != int(number):
            raise self._error(given)
        return int(number)

    def _error(self, given: Any) -> InputError:
        return InputError(f"{given!r} is no value of {self.name}", where=self.name, next_step=f"give {self.allowed()}")

    def allowed(self) -> str:
        """What may be given, in words."""
        like = self.default[0] if isinstance(self.default, tuple) else self.default
        if self.choices:
            one = f"one of {', '.join(self.choices)}"
        elif isinstance(like, bool):
            one = "yes or no"
        elif isinstance(like, str):
            one = "a word"
        else:
            one = "a whole number" if isinstance(like, int) else "a number"
            if self.least is not None:
                one += f" from {self.least:g}"
            if self.most is not None:
                one += f" to {self.most:g}"
            if self.unit:
                one += f" ({self.unit})"
        return f"{one}; several by comma" if isinstance(self.default, tuple) else one

    def shown(self) -> str:
        """The default as it would be typed."""
        value = self.default
        return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def values(parameters: Iterable[Parameter], given: Mapping[str, Any], *, quick: bool) -> Values:
    """All parameters with their values: what was given, else the default.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in given:
        if name not in known:
            raise InputError(
                f"this experiment has no parameter {name}",
                where=name,
                next_step=f"it has: {', '.join(known) or 'none'}",
            )
    return {
        name: parameter.read(given[name])
        if name in given
        else parameter.quick
        if quick and parameter.quick is not None
        else parameter.default
        for name, parameter in known.items()
    }


def assignments(words: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE words as a mapping."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"{word!r} is not NAME=VALUE", where="--set", next_step="for example --set seconds=2")
        found[name] = value
    return found


def number(values: Values, name: str) -> float:
    """A number among the values."""
    value = values[name]
    assert isinstance(value, int | float)
    return float(value)


def whole(values: Values, name: str) -> int:
    """A whole number among the values."""
    return int(number(values, name))


def numbers(values: Values, name: str) -> tuple[float, ...]:
    """Several numbers."""
    value = values[name]
    assert isinstance(value, tuple)
    return tuple(float(one) for one in value)


def words(values: Values, name: str) -> tuple[str, ...]:
    """Several words."""
    value = values[name]
    assert isinstance(value, tuple)
    return tuple(str(one) for one in value)
