"""The base class of experiments, and the types that it uses: samples, charts, verdicts, the bench.

An experiment is one subclass of `Experiment` in one file. It says what to measure, what to draw and how to judge the
paper's claims. docs/experiments.md has a complete example.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from experiments.frame.parameters import Parameter, Values
from experiments.frame.sample_statistics import Spread, spread
from hoverboard.contract.public_names import old_names

if TYPE_CHECKING:
    from topologies.run.testbed import Testbed
else:
    # Names of version 0.1. The next version removes them.
    OLD_NAMES = {
        "Table": "from experiments.frame.experiment import SampleTable",
        "Verdict": "from experiments.frame.experiment import ClaimVerdict",
    }
    __getattr__ = old_names(__name__, OLD_NAMES)

Point = dict[str, Any]  # the settings of one measurement; JSON values only
Result = Literal["reproduced", "partly", "not", "not measured"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value.

    Attributes:
        metric: the name of the measured quantity, for example "throughput".
        value: in `unit`; None: the measurement failed, and `error` says why.
        labels: the settings of this sample, for example {"generation": "ovs", "streams": 16}.
    """

    metric: str
    value: float | None
    unit: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """The result for one claim of the paper. `ratio` is our value over the paper's, or None."""

    claim: str
    paper: str
    ours: str
    result: Result
    why: str
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart, or one group of bars.

    Attributes:
        x: numbers; words for bars.
        y: values; the medians if there are `spreads`.
        spreads: the spread of each y, for error bars (quartiles) and n; (): none, as for the paper's values.
        paper: these are the paper's values: drawn dashed, without fill.
    """

    label: str
    x: Sequence[Any]
    y: Sequence[float]
    spreads: Sequence[Spread] = ()
    paper: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """The description of a figure, independent of a plotting library. `x` and `y` are axis labels with units."""

    name: str
    title: str
    x: str
    y: str
    series: Sequence[Series]
    kind: Literal["line", "bars", "steps"] = "line"
    log_x: bool = False
    log_y: bool = False
    note: str = ""


class Bench(Protocol):
    """The services that `Experiment.measure` can use: testbeds, raw data, random numbers, progress."""

    quick: bool

    def testbed(self, topology: Any = "two-hosts", **options: Any) -> Testbed:
        """A running testbed with this topology and these options. It stays up for later points."""

    def fresh(self, topology: Any = "two-hosts", **options: Any) -> Testbed:
        """A new running testbed for this point alone."""

    def raw(self, name: str, document: Any) -> None:
        """Keep a JSON document or a text with the point's raw data."""

    def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
        """A generator of random numbers. The same seed, point, repetition and `of` give the same numbers.

        Args:
            of: a name for what is drawn; different names in one point give independent numbers.
            across: keys of the point that are ignored, so that the compared variants get the same numbers.
        """

    def say(self, what: str) -> None:
        """Show a line of progress."""


class Experiment(ABC):
    """The base class of experiments.

    Attributes:
        name: the name that a user types, for example "pair-rates".
        order: the position in lists and in `run all`, the lowest first. It follows the paper.
        title: one line.
        source: the paper's figure or section.
        measures: one line on the measured quantities.
        minutes: about how long a run takes on two cores.
        repeat: how often each point is measured by default.
        parameters: the values that a user can set.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    measures: ClassVar[str]
    minutes: ClassVar[float]
    order: ClassVar[int] = 1000
    repeat: ClassVar[int] = 3
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    @abstractmethod
    def points(self, values: Values) -> list[Point]:
        """The points to measure, in order. Each repetition measures all of them."""

    @abstractmethod
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure one point. A HoverboardError makes this point fail, and the run goes on."""

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """The charts of all samples."""
        return []

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """The verdicts on the paper's claims."""
        return []


class SampleTable:
    """All samples of a run, with queries by metric and labels."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def values(self, metric: str, **labels: Any) -> list[float]:
        """The values of a metric with these labels, without failed samples."""
        return [one.value for one in self._of(metric, labels) if one.value is not None]

    def spread(self, metric: str, **labels: Any) -> Spread | None:
        """Median, quartiles and n of a metric; None if there is no value."""
        found = self.values(metric, **labels)
        return spread(found) if found else None

    def median(self, metric: str, **labels: Any) -> float | None:
        """The median of a metric; None if there is no value."""
        found = self.spread(metric, **labels)
        return found.median if found else None

    def seen(self, label: str, metric: str | None = None) -> list[Any]:
        """The distinct values of a label, in order of appearance; with `metric`, in its samples only."""
        return list(
            dict.fromkeys(
                one.labels[label] for one in self.samples if label in one.labels and metric in (None, one.metric)
            )
        )

    def failed(self) -> list[Sample]:
        """The samples that failed."""
        return [one for one in self.samples if one.value is None]

    def line(
        self, metric: str, x: str, label: str, scale: Callable[[float], float] = lambda value: value, **labels: Any
    ) -> Series:
        """The series of a metric over the label `x`.

        Args:
            metric: the samples' metric.
            x: the label on the x axis.
            label: the name of the series.
            scale: converts a value into the chart's unit.
            **labels: the labels that all samples of the series have.
        """
        at, found = [], []
        for value in self.seen(x, metric):
            values = self.values(metric, **{x: value}, **labels)
            if values:
                at.append(value)
                found.append(spread([scale(one) for one in values]))
        return Series(label, at, [one.median for one in found], found)

    def _of(self, metric: str, labels: Mapping[str, Any]) -> Iterable[Sample]:
        for one in self.samples:
            if one.metric == metric and all(one.labels.get(name) == value for name, value in labels.items()):
                yield one
