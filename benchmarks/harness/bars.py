"""Bars: what a measured value must reach. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Bar:
    """A value against its limit.

    Attributes:
        what: the value, in words.
        value: what was measured.
        limit: what it is held against.
        sense: how the value has to stand to the limit.
        unit: of both; "x" for a ratio.
    """

    what: str
    value: float
    limit: float
    sense: Literal[">=", "<", "<="]
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the value stands as it should; a value that is no number never does."""
        if self.sense == ">=":
            return self.value >= self.limit
        return self.value < self.limit if self.sense == "<" else self.value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """For a results file."""
        return {
            "what": self.what, "value": self.value, "sense": self.sense, "limit": self.limit,
            "unit": self.unit, "passed": self.passed,
        }  # fmt: skip
