"""Section 4.4: what coprocessor stages cost, of made-up samples."""

from __future__ import annotations

import pytest

from experiments.catalog.coprocessor import Coprocessor
from experiments.frame.experiment import Sample
from tests.unit.experiments.catalog.made_up import charts, given, lines, of, verdicts

ENCRYPTION = of("throughput", 0.5, 1.0, 9.0, stage="encryption")


@pytest.mark.parametrize(
    ("slow", "result", "ours"),
    [
        (0.99, "partly", "0.99 / 5.00 Gbit/s = 0.20"),
        (1.0, "reproduced", "1.00 / 5.00 Gbit/s = 0.20"),
        (3.0, "reproduced", "3.00 / 5.00 Gbit/s = 0.60"),
        (3.05, "partly", "3.05 / 5.00 Gbit/s = 0.61"),
        (4.45, "partly", "4.45 / 5.00 Gbit/s = 0.89"),
        (4.5, "not", "4.50 / 5.00 Gbit/s = 0.90"),
    ],
)
@pytest.mark.parametrize("light", ["acl", "shaping"])
def test_encryption_beside_a_light_stage(light: str, slow: float, result: str, ours: str) -> None:
    samples = [*of("throughput", slow / 2, slow, 9 * slow, stage="encryption"), *of("throughput", 5, stage=light)]
    found = {one.claim: one for one in verdicts(Coprocessor, samples)}
    verdict = found.pop(f"software encryption carries 0.39 of what {light} does")
    assert (verdict.result, verdict.ours, verdict.paper) == (result, ours, "4.6 / 11.8 Gbit/s = 0.39")
    assert verdict.ratio == pytest.approx(slow / 5 / 0.39)
    assert "plain Python" in verdict.why
    assert [one.result for one in found.values()] == ["not measured"]


@pytest.mark.parametrize(
    "samples",
    [[], ENCRYPTION, of("throughput", 3, stage="acl"), [*ENCRYPTION, *of("throughput", 0, stage="acl")]],
)
def test_without_both_stages_nothing_is_said(samples: list[Sample]) -> None:
    for light, verdict in zip(("acl", "shaping"), verdicts(Coprocessor, samples), strict=True):
        assert (verdict.result, verdict.ours) == ("not measured", "")
        assert verdict.claim == f"software encryption carries 0.39 of what {light} does"
        assert (verdict.paper, verdict.why) == ("4.6 / 11.8 Gbit/s = 0.39", "one of the two stages was not measured.")


def test_the_chart_has_the_stages_that_were_measured_beside_the_paper_s() -> None:
    samples = [*of("throughput", 5, stage="none"), *ENCRYPTION, *of("throughput", 3, 2, 7, stage="acl")]
    drawn = charts(Coprocessor, [*samples, *of("throughput", 4, stage="shaping")])["stages"]
    assert lines(drawn) == {
        "here": [("none", 5), ("encryption", 1), ("acl", 3), ("shaping", 4)],
        "section 4.4": [("encryption", 4.6), ("acl", 11.8), ("shaping", 11.8)],
    }
    assert [(one.n, one.low, one.high) for one in drawn.series[0].spreads[:3]] == [(1, 5, 5), (3, 0.75, 5), (3, 2.5, 5)]
    assert [one.paper for one in drawn.series] == [False, True]
    assert (drawn.y, drawn.kind) == ("Gbit/s received", "bars")


def test_a_stage_whose_measurement_failed_is_not_drawn() -> None:
    failed = Sample("throughput", None, "", {"stage": "none"}, "no answer")
    assert lines(charts(Coprocessor, [failed, *ENCRYPTION])["stages"])["here"] == [("encryption", 1)]


def test_points_are_the_stages() -> None:
    points = Coprocessor().points(given(Coprocessor))
    assert points == [{"stage": one} for one in ("none", "acl", "shaping", "encryption")]
