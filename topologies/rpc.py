"""Errors over a JSON channel: what a holder reports is raised again, in its own kind, at the other end."""

from __future__ import annotations

from typing import Any

from hoverboard.contract import errors
from hoverboard.contract.errors import HoverboardError, RunError


def error_to_json(error: Exception) -> dict[str, Any]:
    """{"kind", "what", "where", "next_step"}; the kind is a class of hoverboard.contract.errors."""
    if not isinstance(error, HoverboardError):
        return {"kind": "RunError", "what": str(error) or type(error).__name__, "where": "", "next_step": ""}
    kind = next(c.__name__ for c in type(error).__mro__ if getattr(errors, c.__name__, None) is c)
    text = str(error)
    # A list of faults is text of its own, not what/where/next step.
    plain = str(HoverboardError(error.what, where=error.where, next_step=error.next_step))
    if text != plain:
        return {"kind": kind, "what": text, "where": "", "next_step": ""}
    return {"kind": kind, "what": error.what, "where": error.where, "next_step": error.next_step}


def error_from_json(data: dict[str, Any]) -> HoverboardError:
    """The error that `error_to_json` wrote."""
    kind = getattr(errors, str(data.get("kind")), RunError)
    if not (isinstance(kind, type) and issubclass(kind, HoverboardError)):
        kind = RunError
    return kind(
        str(data.get("what", "unknown fault")),
        where=str(data.get("where", "")),
        next_step=str(data.get("next_step", "")),
    )
