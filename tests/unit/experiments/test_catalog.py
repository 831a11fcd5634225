"""Every experiment of the catalogue: what it would measure, and that its report stands whatever is missing."""

from __future__ import annotations

import json

import pytest

from experiments import catalog
from experiments.frame import discovery
from experiments.frame.drawing import draw
from experiments.frame.experiment import Chart, Experiment, Sample, Series, Table
from experiments.frame.parameters import values

CATALOGUE = discovery.catalogue()


@pytest.mark.parametrize("experiment", CATALOGUE.values(), ids=CATALOGUE)
@pytest.mark.parametrize("quick", [False, True])
def test_points_are_plain_and_distinct(experiment: Experiment, quick: bool) -> None:
    points = experiment.points(values(experiment.parameters, {}, quick=quick))
    texts = [json.dumps(point, sort_keys=True) for point in points]
    assert texts
    assert len(set(texts)) == len(texts)
    assert [json.loads(text) for text in texts] == points


@pytest.mark.parametrize("experiment", CATALOGUE.values(), ids=CATALOGUE)
def test_a_report_without_any_sample(experiment: Experiment) -> None:
    given = values(experiment.parameters, {}, quick=True)
    assert all(
        not any(len(one.y) for one in chart.series if not one.paper) for chart in experiment.charts(Table([]), given)
    )
    assert all(one.result == "not measured" for one in experiment.verdicts(Table([]), given))


def test_the_catalogue_is_in_the_papers_order() -> None:
    assert list(CATALOGUE) == sorted(CATALOGUE, key=catalog.rank)
    assert set(CATALOGUE) <= set(catalog.ORDER)


def test_models_are_drawn_with_all_that_is_said_to_be_measured() -> None:
    one = CATALOGUE["models"]
    trips = [f"{name} round trip" for name in ("first", "later", "steady")]
    metrics = (*trips, "control plane CPU", "flows on a host", "over Hoverboards")
    table = Table([Sample(metric, 1.0, "", {"model": "gateway"}) for metric in metrics])
    drawn = [len(chart.series) for chart in one.charts(table, values(one.parameters, {}, quick=True))]
    assert sum(drawn) == len(metrics) + 1  # flows on a Hoverboard, of which there is no sample
    assert all(
        series.spreads
        for chart in one.charts(table, values(one.parameters, {}, quick=True))
        for series in chart.series
        if series.y
    )


def test_lines_without_markers_are_told_apart_by_their_dashes() -> None:
    chart = Chart("c", "t", "x", "y", [Series(name, [0, 1], [0, 1]) for name in "abcd"], kind="steps")
    found = {line.get_linestyle() + str(line._unscaled_dash_pattern) for line in draw(chart).axes[0].lines}
    assert len(found) == 4


def test_a_burst_is_drawn_with_its_spread() -> None:
    one = CATALOGUE["burst"]
    given = values(one.parameters, {}, quick=True)
    table = Table([Sample("load", n, "", {"interval": 1.0, "threshold": 20.0, "at": 0.1}) for n in (1.0, 2.0, 9.0)])
    (chart, _) = one.charts(table, given)
    assert [spread.n for series in chart.series for spread in series.spreads] == [3]
