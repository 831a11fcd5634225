"""Every experiment of the catalogue: what it would measure, and that its report stands whatever is missing."""

from __future__ import annotations

import json

import pytest

from experiments import catalog
from experiments.frame import discovery
from experiments.frame.experiment import Experiment, Table
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
