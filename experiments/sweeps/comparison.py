"""Compares two runs of an experiment: the medians of what both measured, and their ratios. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.frame.experiment import SampleTable
from experiments.sweeps.report import Row, rows

_WORDS = {"root": "as root", "rootless": "rootless"}


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric in both runs. `ratio`: b over a, or None if a is 0. `apart`: the quartile ranges do not overlap."""

    metric: str
    unit: str
    labels: dict[str, Any]
    a: Row
    b: Row
    ratio: float | None
    apart: bool


def compare(a: SampleTable, b: SampleTable) -> list[Compared]:
    """The metrics that both runs have, in the order of `a`."""
    others = {_key(row): row for row in rows(b)}
    found = []
    for row in rows(a):
        if (other := others.get(_key(row))) is not None:
            ratio = other.median / row.median if row.median else None
            apart = row.high < other.low or other.high < row.low
            found.append(Compared(row.metric, row.unit, row.labels, row, other, ratio, apart))
    return found


def different_privileges(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """A note if one of two runs was measured as root, and the other rootless; "" if both are alike.

    Args:
        a: the record of a run; one of an earlier version does not tell, and was root's.
        b: that of the other.
    """
    first, second = (one.get("privileges", "root") for one in (a, b))
    if first == second:
        return ""
    return f"A was measured {_WORDS[first]}, and B {_WORDS[second]}: only root's switches have priority on a busy core"


def _key(row: Row) -> str:
    return json.dumps([row.metric, row.unit, row.labels], sort_keys=True)
