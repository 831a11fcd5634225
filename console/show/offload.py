"""The offload policy as lines: its values, its changes, its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import FromTo
    from hoverboard.contract.documents import OffloadPolicyStatus

_RATES = ("threshold", "keep")
_UNITS = (("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3))
_SECONDS = ("min_lifetime", "idle_expiry")


def _text(name: str, value: Any) -> str:
    if name in _RATES:
        unit, size = next(((unit, size) for unit, size in _UNITS if value >= size), ("bit", 1))
        return f"{value / size:g}{unit}"
    if name in _SECONDS:
        return f"{value:g} s"
    if name == "budget":
        return str(value) if value else "no limit"
    return "built-in" if value is None else str(value)


def offload_lines(changed: Mapping[str, FromTo]) -> Iterator[str]:
    """A line for each changed value of the offload policy."""
    for name, value in changed.items():
        yield f"~ offload {name}: {_text(name, value['from'])} -> {_text(name, value['to'])}"


def policy_lines(document: OffloadPolicyStatus) -> Iterator[str]:
    """The offload policy with its settings, and its errors if it has any."""
    yield f"offload policy {_text('policy', document['policy'])}"
    values = {
        "threshold": document["threshold_bps"], "keep": document["keep_bps"],
        "min_lifetime": document["min_lifetime_s"], "idle_expiry": document["idle_expiry_s"],
        "budget": document["budget"], "reports": document["reports"],
    }  # fmt: skip
    for name, value in values.items():
        yield f"  {name}: {_text(name, value)}"
    if document["errors"]:
        yield f"  errors: {document['errors']}, last: {document['last_error']}"
