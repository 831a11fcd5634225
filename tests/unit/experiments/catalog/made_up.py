"""Made-up samples of an experiment, and what the experiment says of them: verdicts and charts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from experiments.frame.experiment import Chart, ClaimVerdict, Experiment, Sample, SampleTable
from experiments.frame.parameters import Values, values


def given(kind: type[Experiment], **changed: Any) -> Values:
    """The default parameters, but for those that are changed."""
    return values(kind.parameters, {}, quick=False) | changed


def of(metric: str, *several: float, **labels: Any) -> list[Sample]:
    """Samples of one metric with the same labels."""
    return [Sample(metric, value, "", labels) for value in several]


def verdicts(kind: type[Experiment], samples: Iterable[Sample], **changed: Any) -> list[ClaimVerdict]:
    """What the experiment says of these samples."""
    return kind().verdicts(SampleTable(samples), given(kind, **changed))


def results(kind: type[Experiment], samples: Iterable[Sample], **changed: Any) -> list[str]:
    """The results of its verdicts, in their order."""
    return [one.result for one in verdicts(kind, samples, **changed)]


def charts(kind: type[Experiment], samples: Iterable[Sample], **changed: Any) -> dict[str, Chart]:
    """Its charts by name."""
    return {one.name: one for one in kind().charts(SampleTable(samples), given(kind, **changed))}


def lines(chart: Chart) -> dict[str, list[tuple[Any, float]]]:
    """The points of a chart's series by label."""
    return {one.label: list(zip(one.x, one.y, strict=True)) for one in chart.series}
