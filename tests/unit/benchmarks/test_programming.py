"""The programming benchmark: extrapolation and the check of sinks against switches; a point in sinks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.programming import disagreements, polynomial, quadratic
from experiments.programming.point import Point, measure


def test_a_square_is_extrapolated_exactly_and_a_line_is_not_exaggerated() -> None:
    assert quadratic([10, 20, 40], [100 + 3 * n * n for n in (10, 20, 40)], 80) == pytest.approx(100 + 3 * 6400)
    assert polynomial([1, 2, 3], [5, 7, 9], 1) == (pytest.approx([2, 3]), pytest.approx(1))


def test_different_counts_are_told() -> None:
    sink: dict[str, Any] = {
        "model": "m", "vms": 1, "hosts": 1, "hoverboards": 1, "switches": "sink", "flows_by_class": {"host": 7},
    }  # fmt: skip
    assert disagreements([sink, sink | {"switches": "ovs"}]) == []
    assert len(disagreements([sink, sink | {"switches": "ovs", "flows_by_class": {"host": 8}}])) == 1


def test_a_point_counts_what_the_controller_expects(tmp_path: Path) -> None:
    point = Point("hoverboard", 12, 3, more=2)
    point.cluster.write_request(tmp_path / "request")
    figures = asyncio.run(measure(point, tmp_path / "request"))
    assert figures["flows"] == sum(one["flows"] for one in figures["flows_by_class"].values())
    assert figures["flows_by_class"]["hoverboard"]["flows"] > 12
    assert figures["flows_by_class"]["host"]["switches"] == 3
    assert len(figures["one_more"]["samples"]) == 2
