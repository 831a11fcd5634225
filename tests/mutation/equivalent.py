"""Mutants that no test can tell from the original, each with its reason: `tests/mutation/equivalent.toml`."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from pathlib import Path

LIST = Path(__file__).parent / "equivalent.toml"


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """One entry of the list: it excuses one survivor. Two survivors of one line and change need two entries.

    Attributes:
        file: the module, relative to the checkout.
        line: text of the line that the change stands in, without leading and trailing blanks.
        change: as the report prints it: "a < b -> a <= b".
        reason: why nobody can see a difference.
    """

    file: str
    line: str
    change: str
    reason: str


def read(path: Path = LIST) -> list[Equivalent]:
    """The list, by file."""
    data = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        Equivalent(file, each["line"], each["change"], each["reason"]) for file, rows in data.items() for each in rows
    ]


def of_file(entries: Iterable[Equivalent], file: str) -> list[Equivalent]:
    """Entries of one module."""
    return [entry for entry in entries if entry.file == file]
