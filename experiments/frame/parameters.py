"""Parameters of an experiment: type, unit and range. Reads their values from the command line or YAML. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hoverboard.contract.errors import InputError

Value = int | float | str | bool | tuple[int | float | str, ...]
Values = dict[str, Any]  # each of the type of its parameter's default


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that a user of the experiment can set.

    Attributes:
        default: gives the type too: int, float, str, bool, or a tuple of ints, floats or strs.
        unit: of a number; "" if it has none.
        what: one line that says what the value is.
        quick: the default of a quick run; None: the same as `default`.
        least, most: the range of a number, or of each number of a tuple.
        choices: the words that are allowed, also in a tuple; (): all words are.
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
        """The value from a command line or from YAML. InputError: the value is not allowed."""
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
        return InputError(
            f"{given!r} is not a value of {self.name}", where=self.name, next_step=f"give {self.allowed()}"
        )

    def allowed(self) -> str:
        """A description of the allowed values, for messages."""
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
        """The default as a user types it."""
        value = self.default
        return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def values(parameters: Iterable[Parameter], given: Mapping[str, Any], *, quick: bool) -> Values:
    """The value of every parameter: the given one, or else the default.

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
    """NAME=VALUE words as a mapping. InputError: a word has another form."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"{word!r} is not NAME=VALUE", where="--set", next_step="for example --set seconds=2")
        found[name] = value
    return found


def number(values: Values, name: str) -> float:
    """The value of a parameter that is a number."""
    value = values[name]
    assert isinstance(value, int | float)
    return float(value)


def whole(values: Values, name: str) -> int:
    """The value of a parameter that is a whole number."""
    return int(number(values, name))


def numbers(values: Values, name: str) -> tuple[float, ...]:
    """The value of a parameter that is a tuple of numbers."""
    value = values[name]
    assert isinstance(value, tuple)
    return tuple(float(one) for one in value)


def words(values: Values, name: str) -> tuple[str, ...]:
    """The value of a parameter that is a tuple of words."""
    value = values[name]
    assert isinstance(value, tuple)
    return tuple(str(one) for one in value)
