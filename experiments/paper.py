"""The paper's figures as data: Dalton et al., "Andromeda", NSDI 2018.

paper_figures.csv was read off the plots. The error is about 2 % of an axis' range, in figure 11b 0.002 of the CDF.
Numbers that the paper's text states are exact. They stand in the experiments that use them, with their section.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

SOURCE = (
    "Dalton et al., Andromeda: Performance, Isolation, and Velocity at Scale in Cloud Network Virtualization, NSDI 2018"
)
READING_ERROR = 0.02  # of an axis' range


@dataclass(frozen=True, slots=True)
class Curve:
    """A series of a figure: x as text (numbers, or names of versions), y as numbers, and the units of both."""

    x: tuple[str, ...]
    y: tuple[float, ...]
    x_unit: str
    y_unit: str

    def numbers(self) -> tuple[float, ...]:
        """The x values as numbers. ValueError: they are names."""
        return tuple(float(one) for one in self.x)

    def at(self, x: str) -> float:
        """The y value at a name on the x axis. KeyError: the axis has no such name."""
        return dict(zip(self.x, self.y, strict=True))[x]


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (resources.files("experiments") / "paper_figures.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def curve(figure: str, series: str) -> Curve:
    """A series of a figure, for example curve("11a", "hoverboard"). KeyError: there is no such series."""
    rows = [row for row in _rows() if row["figure"] == figure and row["series"] == series]
    if not rows:
        raise KeyError(f"figure {figure} has no series {series}")
    return Curve(
        tuple(row["x"] for row in rows), tuple(float(row["y"]) for row in rows), rows[0]["x_unit"], rows[0]["y_unit"]
    )


def series(figure: str) -> list[str]:
    """The names of a figure's series."""
    return list(dict.fromkeys(row["series"] for row in _rows() if row["figure"] == figure))
