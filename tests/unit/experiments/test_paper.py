"""The paper's figures as data, and what Hoverboards have counted so far."""

from __future__ import annotations

from typing import Any, cast

import pytest

from experiments import paper
from experiments.observe import hoverboard_counters
from tests.unit.experiments.fake_testbed import FakeTestbed
from topologies.run.testbed import Testbed
from topologies.spec import schema


def test_a_curve_has_names_or_numbers() -> None:
    curve = paper.curve("9", "TCP RTT")
    assert (curve.x, curve.x_unit, curve.y_unit) == (("pre", "1.0", "1.5", "2.0", "2.1", "2.2"), "version", "us")
    assert (curve.at("pre"), curve.at("2.1")) == (265.9, 33.7)
    with pytest.raises(KeyError):
        curve.at("3.0")
    with pytest.raises(ValueError, match="pre"):
        curve.numbers()
    assert paper.curve("11c", "hoverboard share").numbers()[:2] == (0.2, 0.5)


def test_series_of_a_figure_are_in_their_order() -> None:
    assert paper.series("10") == ["total", "host", "guest"]
    assert paper.series("11a") == ["preprogrammed", "hoverboard"]
    for figure, series in (("9", "no such"), ("99", "TCP RTT")):
        with pytest.raises(KeyError, match=f"figure {figure} has no series {series}"):
            paper.curve(figure, series)


def test_counters_are_those_of_all_hoverboards_and_of_no_host() -> None:
    testbed = FakeTestbed(schema.from_keys({"hosts": 2, "hoverboards": 2, "networks": []}, name="x"), {})
    said: dict[str, dict[str, Any]] = {
        "hv1": {"rx_packets": 5, "drops": {"over-capacity": 7, "else": 99}}, "hv2": {"rx_packets": "6", "drops": {}},
    }  # fmt: skip
    testbed.status = lambda name: {"counters": said[name]}
    assert hoverboard_counters.received(cast(Testbed, testbed)) == 11
    assert hoverboard_counters.over_capacity(cast(Testbed, testbed)) == 7
    assert testbed.opened == testbed.closed == ["hv1", "hv2"] * 2
