"""The faults of a topology file, each shown as `file:line: key: what` with a next step; all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hoverboard.contract.errors import InputError
from topologies.spec.values import rate_text


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault.

    Attributes:
        line: in the file, from 1.
        key: path of the key, such as networks[0].vms[2].host; "" for the whole file.
        what: what is wrong.
        next_step: what to do about it.
    """

    line: int
    key: str
    what: str
    next_step: str

    def where(self, source: str) -> str:
        """Its place; `source` is the name of the file."""
        return f"{source}:{self.line}" + (f": {self.key}" if self.key else "")

    def text(self, source: str) -> str:
        """The fault as a message; `source` is the name of the file."""
        return f"{self.where(source)}: {self.what}\n  -> {self.next_step}"


def explain(error: Any) -> tuple[str, str]:
    """(what is wrong, what to do) in plain words, for one error of pydantic's `ValidationError.errors()`.

    A ValueError of ours may hold both: "what is wrong; what to do".
    """
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "literal_error":
            return f"{given!r} is not a possible value", f"use one of: {context['expected']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "is not a mapping of keys", "write keys with values, such as `name: ...`"
        case "int_type" | "int_parsing":
            return f"{given!r} is not a whole number", "give a whole number"
        case "bool_type":
            return f"{given!r} is neither true nor false", "write true or false"
        case "string_type":
            return f"{given!r} is not text", "put the value in quotes"
        case "list_type" | "tuple_type":
            return "is not a list", "write a list, such as [a, b]"
        case "too_short" | "string_too_short":
            return "is empty", "give a value, or remove the key"
        case "greater_than_equal":
            return f"{given} is too small", f"give at least {_limit(context['ge'], given)}"
        case "less_than_equal":
            return f"{given} is too large", f"give at most {_limit(context['le'], given)}"
    what, _, step = str(error["msg"]).removeprefix("Value error, ").partition("; ")
    return what[0].lower() + what[1:], step or "correct the value"


def _limit(limit: float, given: object) -> str:
    """A limit in the unit of the value that exceeds it."""
    if not isinstance(given, str):
        return str(limit)
    return rate_text(int(limit)) if given.endswith("bit") else f"{limit:g}s"


class TopologyFileError(InputError):
    """A topology file has faults; nothing was started."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = sorted(set(faults))
        count = len(self.faults)
        super().__init__(
            f"{count} fault{'s' if count != 1 else ''} in the topology file", where=source,
            next_step="; ".join(dict.fromkeys(fault.next_step for fault in self.faults)),
        )  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(fault.text(self.source) for fault in self.faults)
