"""The programming benchmark's recording sink counts what real Open vSwitch bridges hold, in every model."""

from __future__ import annotations

import pytest

from benchmarks.programming import disagreements
from controllers.vmc.models import MODELS
from experiments.programming.point import Point
from experiments.programming.point_process import run_point


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_sink_counts_what_real_switches_hold(model: str) -> None:
    points = [run_point(Point(model, 12, 4, 2, switches=switches)) for switches in ("sink", "ovs")]
    assert [point["switches"] for point in points] == ["sink", "ovs"]
    assert points[1]["flows"] > 12
    assert disagreements(points) == []
