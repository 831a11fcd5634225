"""Bars: limits for measured values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Bar:
    """A measured value and its limit.

    Attributes:
        what: the value, in words.
        value: the measured value.
        limit: the limit.
        sense: the relation that the value must have to the limit.
        unit: unit of both; "x" for a ratio.
    """

    what: str
    value: float
    limit: float
    sense: Literal[">=", "<", "<="]
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the value meets the limit; NaN never does."""
        if self.sense == ">=":
            return self.value >= self.limit
        return self.value < self.limit if self.sense == "<" else self.value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """The bar as plain data, for a results file."""
        return {
            "what": self.what, "value": self.value, "sense": self.sense, "limit": self.limit,
            "unit": self.unit, "passed": self.passed,
        }  # fmt: skip
