"""Errors over a socket: the client raises the error that the server reports, in the same class."""

from __future__ import annotations

from typing import Any

from hoverboard.contract import errors
from hoverboard.contract.errors import HoverboardError, RunError


def error_to_json(error: Exception) -> dict[str, Any]:
    """{"kind", "what", "where", "next_step", "exit_code"}; the kind is a class of hoverboard.contract.errors."""
    if not isinstance(error, HoverboardError):
        error = RunError(str(error) or type(error).__name__)
    kind = next(c.__name__ for c in type(error).__mro__ if getattr(errors, c.__name__, None) is c)
    found = {"kind": kind, "exit_code": error.exit_code}
    text = str(error)
    # The text of a list of faults is not made of what, where and next step.
    plain = str(HoverboardError(error.what, where=error.where, next_step=error.next_step))
    if text != plain:
        return {**found, "what": text, "where": "", "next_step": ""}
    return {**found, "what": error.what, "where": error.where, "next_step": error.next_step}


def error_from_json(data: object) -> HoverboardError:
    """The error that `error_to_json` wrote; RunError for any other document."""
    given: dict[str, Any] = data if isinstance(data, dict) else {"what": str(data)}
    kind = getattr(errors, str(given.get("kind")), RunError)
    if not (isinstance(kind, type) and issubclass(kind, HoverboardError)):
        kind = RunError
    error = kind(
        str(given.get("what", "unknown fault")),
        where=str(given.get("where", "")),
        next_step=str(given.get("next_step", "")),
    )
    code = given.get("exit_code")
    if isinstance(code, int) and 0 < code < 256 and code != error.exit_code:
        error.exit_code = code  # of a class that this end does not have
    return error
