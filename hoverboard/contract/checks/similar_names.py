"""Helps people who have mistyped a name: the name that they may have meant, and the names that there are. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_MOST_NAMES = 8  # in a message
_MOST_COMPARED = 2000  # names that are searched for a similar one


def similar(name: str, names: Iterable[str]) -> str | None:
    """The name that `name` may be a slip of; None if there is no such name."""
    return next(iter(difflib.get_close_matches(name, list(islice(names, _MOST_COMPARED)), n=1)), None)


def listed(names: Iterable[str]) -> str:
    """The first names, and dots if there are more."""
    first = list(islice(names, _MOST_NAMES + 1))
    return ", ".join(first[:_MOST_NAMES]) + (", ..." if len(first) > _MOST_NAMES else "")


def name_step(name: str, known: Iterable[str]) -> str:
    """The next step for a name that does not exist: the name that may be meant, and those that exist."""
    every = list(known)
    close = similar(name, every)
    guess = "" if close is None else f"did you mean `{close}`? "
    return f"{guess}use one of: {listed(every)}" if every else "there is none"
