"""Mutants that no test can tell from the original, each with its reason: `tests/mutation/equivalent.toml`."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.mutation.mutants import Mutant

LIST = Path(__file__).parent / "equivalent.toml"


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """One entry of the list.

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

    def stands_for(self, mutant: Mutant, text: str) -> bool:
        """Whether a mutant of this entry's file, whose line has this text, is meant."""
        return mutant.change == self.change and text.strip() == self.line


class Excuses:
    """Entries of one module, each good for one survivor.

    Attributes:
        left: those that no survivor has needed so far.
    """

    def __init__(self, entries: Iterable[Equivalent]) -> None:
        self.left = list(entries)

    def take(self, mutant: Mutant, text: str) -> bool:
        """Whether an entry that is left stands for this survivor, whose line has this text; it is used up then."""
        entry = next((entry for entry in self.left if entry.stands_for(mutant, text)), None)
        if entry is not None:
            self.left.remove(entry)
        return entry is not None


def read(path: Path = LIST) -> list[Equivalent]:
    """The list, by file."""
    data = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        Equivalent(file, each["line"], each["change"], each["reason"]) for file, rows in data.items() for each in rows
    ]


def of_file(entries: Iterable[Equivalent], file: str) -> list[Equivalent]:
    """Entries of one module."""
    return [entry for entry in entries if entry.file == file]
