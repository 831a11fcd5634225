"""Errors of an offload policy that a user has written: counted, and kept with the line (paper 3.3.1). Pure.

An error ends no process. For the report in which it happens the policy decides nothing: offloads stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TypeVar

from hoverboard.contract.plugins import error_text, place_in_user_code

_Pair = TypeVar("_Pair", bound=tuple[str, str])


class PolicyErrors:
    """The errors of a policy so far.

    Attributes:
        count: number of errors.
        last: the last one, with its line; None: there was none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last: str | None = None
        self._unseen: list[BaseException | str] = []
        self._known: set[str] = set()

    def raised(self, error: BaseException) -> None:
        """Record an exception that the policy raised."""
        name, where = place_in_user_code(error) or ("the policy", "")
        text = f"{name}() raised {error_text(error)}"
        self._record(f"{where}: {text}" if where else text, error)

    def returned(self, function: Callable[..., object], what: str) -> None:
        """Record an answer that is not a decision.

        Args:
            function: the function that gave it, for its line.
            what: what is wrong with it.
        """
        code = getattr(function, "__code__", None)
        where = f"{code.co_filename}:{code.co_firstlineno}: " if code is not None else ""
        self._record(f"{where}{getattr(function, '__qualname__', 'decide')}() {what}", None)

    def refused(self, error: Exception) -> None:
        """Record that another policy could not be made, so that this one stays."""
        self.count += 1
        self.last = str(error).partition("\n")[0]

    def take(self) -> list[BaseException | str]:
        """The errors that the log does not have yet: exceptions, and texts of wrong answers. They are given once."""
        taken, self._unseen = self._unseen, []
        return taken

    def _record(self, text: str, error: BaseException | None) -> None:
        self.count += 1
        self.last = text
        if text not in self._known:  # a policy that always fails must not fill the log
            self._known.add(text)
            self._unseen.append(text if error is None else error)


def nonsense(answer: object, decision: type[object]) -> str | None:
    """The fault of an answer that is no decision; None: it is one."""
    return None if isinstance(answer, decision) else f"returned {type(answer).__name__}, and not a Decision"


def sensible(given: Sequence[_Pair], known: Container[_Pair], what: str) -> tuple[list[_Pair], str | None]:
    """The pairs that may be meant, and what is wrong with the others.

    Args:
        given: pairs of a decision.
        known: the pairs that there are.
        what: what the decision does with them, and what they should be: "starts {}, which is no candidate".
    """
    good = [pair for pair in given if pair in known]
    bad = [pair for pair in given if pair not in known]
    return good, what.format(
        " -> ".join(map(str, bad[0])) if isinstance(bad[0], tuple) else repr(bad[0])
    ) if bad else None
