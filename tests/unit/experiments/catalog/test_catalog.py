"""Every experiment of the catalogue: what it would measure, and that its report stands whatever is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import catalog
from experiments.frame.experiment import Experiment, Sample, SampleTable
from experiments.frame.parameters import Parameter, Values, values
from experiments.sweeps import discovery
from experiments.sweeps.drawing import label
from hoverboard.contract import generations, models

CATALOGUE = discovery.catalogue()


@pytest.mark.parametrize("experiment", CATALOGUE.values(), ids=CATALOGUE)
@pytest.mark.parametrize("quick", [False, True])
def test_points_are_plain_and_distinct(experiment: Experiment, quick: bool) -> None:
    points = experiment.points(values(experiment.parameters, {}, quick=quick))
    texts = [json.dumps(point, sort_keys=True) for point in points]
    assert texts
    assert len(set(texts)) == len(texts)
    assert [json.loads(text) for text in texts] == points


UNITS = {
    "", "Mbit/s", "VMs", "VMs per host", "hosts", "kbit/s", "packets", "packets/s", "pairs", "s", "times the capacity",
    "times the paper's rates",
}  # fmt: skip
# How many verdicts say "not measured" where nothing was; the others say nothing at all.
NOT_MEASURED = {"throughput": 2, "latency": 6, "cpu": 2, "isolation": 2, "coprocessor": 2, "batching": 2}
# Metrics that may fail by themselves; else the whole point does.
FAILING = {
    "throughput": ("throughput",),
    "models": ("first round trip", "steady round trip"),
    "programming-latency": ("joined", "churn"),
    "failover": ("lost",),
}


def failed(experiment: Experiment, given: Values) -> SampleTable:
    """Every point failed, and every metric that may fail alone."""
    return SampleTable(
        Sample(metric, None, "", {"path": "host to host"} | point, "no answer")
        for point in experiment.points(given)
        for metric in ("point", *FAILING.get(experiment.name, ()))
    )


@pytest.mark.parametrize("experiment", CATALOGUE.values(), ids=CATALOGUE)
def test_of_samples_that_all_failed_nothing_is_drawn_and_no_claim_is_judged(experiment: Experiment) -> None:
    given = values(experiment.parameters, {}, quick=False)
    for table in (SampleTable([]), failed(experiment, given)):
        found = [one.result for one in experiment.verdicts(table, given)]
        assert found == ["not measured"] * NOT_MEASURED.get(experiment.name, 0)
        drawn = [one for chart in experiment.charts(table, given) for one in chart.series if not one.paper]
        assert [(list(one.x), list(one.y), list(one.spreads)) for one in drawn] == [([], [], [])] * len(drawn)


@pytest.mark.parametrize("experiment", CATALOGUE.values(), ids=CATALOGUE)
def test_every_parameter_says_what_it_is_and_in_which_unit(experiment: Experiment) -> None:
    for one in experiment.parameters:
        assert one.what
        assert one.unit in UNITS
        quick = one.default if one.quick is None else one.quick
        assert one.read(quick) == quick
        assert one.read(one.shown()) == one.default


def named(parameter: Parameter) -> Parameter:
    """The parameter, with "{models}" for the names of all programming models, and the like for generations."""
    if set(parameter.choices) == set(models.NAMES):
        return replace(parameter, default=("{models}",), choices=("{models}",))
    if parameter.choices == ("all", *generations.NAMES):
        return replace(parameter, choices=("all", "{generations}"))
    return parameter


def set_to(experiment: Experiment, *, quick: bool) -> Values:
    """Its parameters, of generations two that every machine can have, and of models the first two."""
    given = values(experiment.parameters, {}, quick=quick)
    given |= {"models": given["models"][:2]} if "models" in given else {}
    return given | ({"generations": ("pre", "fastpath")} if "generations" in given else {})


def parameters() -> str:
    """Every parameter of the catalogue as `hoverboard experiment list NAME` shows it, and its quick default."""
    lines = []
    for experiment in CATALOGUE.values():
        whole, quick = (len(experiment.points(set_to(experiment, quick=quick))) for quick in (False, True))
        lines.append(
            f"{experiment.name}: {experiment.source}; {whole} points (quick: {quick}), {experiment.repeat} times, "
            f"{experiment.minutes:g} min"
        )
        for parameter in experiment.parameters:
            one = named(parameter)
            short = "" if one.quick is None else f" (quick: {replace(one, default=one.quick).shown()})"
            lines.append(f"    {one.name} = {one.shown()}{short} {one.unit or '-'}: {one.what}; {one.allowed()}")
    return "\n".join(lines) + "\n"


def test_parameters_have_the_defaults_and_ranges_that_are_written_down() -> None:
    assert parameters() == (Path(__file__).parent / "data" / "parameters.txt").read_text()


METRICS = {
    "throughput": ("throughput",),
    "latency": ("mean", "p50", "p90", "p99", "p99.9"),
    "cpu": ("CPU time",),
    "programming-time": ("programming time", "flows"),
    "pair-rates": ("offered", "measured"),
    "offload": ("offloaded", "on Hoverboards"),
    "models": ("first round trip", "steady round trip", "control plane CPU", "flows on a host", "over Hoverboards"),
    "burst": ("load", "time to relief"),
    "gateway-overload": ("relieved", "lost", "time to relief"),
    "on-demand-collapse": ("answered", "first round trip"),
    "programming-latency": ("joined",),
    "isolation": ("p99", "loss"),
    "coprocessor": ("throughput",),
    "batching": ("engine", "packet rate"),
    "failover": ("next change", "silence"),
}


def drawn() -> str:
    """Every chart of the catalogue in words: what is on its axes, its legend and its note."""
    lines = []
    for experiment in CATALOGUE.values():
        given = set_to(experiment, quick=True)
        labels = {"path": "host to host", "side": "total", "at": 0.1, "batch": 1}
        samples = [
            Sample(metric, 1.0 + 9 * number, "", labels | point)
            for number, point in enumerate(experiment.points(given))
            for metric in METRICS[experiment.name]
        ]
        for one in experiment.charts(SampleTable(samples), given):
            scales = ["log x"] * one.log_x + ["log y"] * one.log_y
            lines.append(f"{experiment.name}/{one.name}: {one.title} ({', '.join([one.kind, *scales])})")
            lines += [f"    {one.y} over {one.x}", f"    of {', '.join(map(label, one.series))}"]
            lines += [f"    {one.note}"] * bool(one.note)
    return "\n".join(lines) + "\n"


def test_charts_have_the_titles_axes_and_legends_that_are_written_down() -> None:
    assert drawn() == (Path(__file__).parent / "data" / "charts.txt").read_text()


def test_the_catalogue_is_in_the_papers_order() -> None:
    orders = [one.order for one in CATALOGUE.values()]
    assert orders == sorted(set(orders))
    assert list(CATALOGUE)[:3] == ["throughput", "latency", "cpu"]


def test_a_new_experiment_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the catalogue's folder is listed where its `order` says."""
    (tmp_path / "added_by_a_test.py").write_text(
        """
from experiments.frame.experiment import Experiment
class Added(Experiment):
    name, order, title, source, measures, minutes = "added", 25, "Added", "ours", "nothing", 1.0
    def points(self, values): return [{}]
    def measure(self, point, values, bench): return []
"""
    )
    monkeypatch.setattr(catalog, "__path__", [*catalog.__path__, str(tmp_path)])
    try:
        assert list(discovery.catalogue()) == ["throughput", "latency", "added", *list(CATALOGUE)[2:]]
    finally:
        sys.modules.pop("experiments.catalog.added_by_a_test", None)
