"""What an experiment is: one class in one file, which says what to measure, what to draw and what it means.

An author subclasses `Experiment`; nothing else of the frame is needed (docs/experiments.md has a whole one).
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
    # Names of version 0.1; they go with the next version.
    OLD_NAMES = {
        "Table": "from experiments.frame.experiment import SampleTable",
        "Verdict": "from experiments.frame.experiment import ClaimVerdict",
    }
    __getattr__ = old_names(__name__, OLD_NAMES)

Point = dict[str, Any]  # what one measurement is set to; JSON values only
Result = Literal["reproduced", "partly", "not", "not measured"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value.

    Attributes:
        metric: what was measured, for example "throughput".
        value: in `unit`; None for a measurement that failed, which `error` then explains.
        labels: what tells it from others, for example {"generation": "ovs", "streams": 16}.
    """

    metric: str
    value: float | None
    unit: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """What became of one claim of the paper's; `ratio` is ours over the paper's where that makes sense."""

    claim: str
    paper: str
    ours: str
    result: Result
    why: str
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A line, or bars, of a chart.

    Attributes:
        x: numbers, or words for bars.
        y: values, or with `spreads` their medians.
        spreads: of each y, for error bars (quartiles) and n; (): none, as for the paper's.
        paper: drawn as the paper's: dashed, without fill.
    """

    label: str
    x: Sequence[Any]
    y: Sequence[float]
    spreads: Sequence[Spread] = ()
    paper: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, told without a plotting library. `x` and `y` are axis labels with units."""

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
    """What a measurement may use; given to `measure`."""

    quick: bool

    def testbed(self, topology: Any = "two-hosts", **options: Any) -> Testbed:
        """A running testbed of that topology and those options; stays up for the points that follow."""

    def fresh(self, topology: Any = "two-hosts", **options: Any) -> Testbed:
        """A running testbed that nobody used before and nobody uses after this point."""

    def raw(self, name: str, document: Any) -> None:
        """Keep a document (JSON) or text with the point's raw data."""

    def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
        """Random numbers for `of`: the same for the same seed, point and repetition.

        Args:
            of: what is drawn; two things drawn in one point have nothing to do with each other.
            across: of the point, what makes no difference: those who are compared are offered the same.
        """

    def say(self, what: str) -> None:
        """Show what is going on."""


class Experiment(ABC):
    """An experiment.

    Attributes:
        name: as typed, for example "pair-rates".
        order: where it stands in lists and in `run all`, the lowest first: the paper's order.
        title: one line.
        source: the paper's figure or section.
        measures: what is measured, one line.
        minutes: what it takes on two cores, about.
        repeat: how often each point is measured unless told otherwise.
        parameters: what may be set.
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
        """What is to be measured, in order; each repetition goes through all of them."""

    @abstractmethod
    def measure(self, point: Point, values: Values, bench: Bench) -> Iterable[Sample]:
        """Measure one point; a HoverboardError becomes a failed point, and the others go on."""

    def charts(self, table: SampleTable, values: Values) -> list[Chart]:
        """Figures from all samples."""
        return []

    def verdicts(self, table: SampleTable, values: Values) -> list[ClaimVerdict]:
        """What holds of the paper's claims."""
        return []


class SampleTable:
    """All samples of a run, to be asked."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def values(self, metric: str, **labels: Any) -> list[float]:
        """Values of a metric with these labels; failed samples are left out."""
        return [one.value for one in self._of(metric, labels) if one.value is not None]

    def spread(self, metric: str, **labels: Any) -> Spread | None:
        """Median, quartiles and n; None without a value."""
        found = self.values(metric, **labels)
        return spread(found) if found else None

    def median(self, metric: str, **labels: Any) -> float | None:
        """The median; None without a value."""
        found = self.spread(metric, **labels)
        return found.median if found else None

    def seen(self, label: str, metric: str | None = None) -> list[Any]:
        """Distinct values of a label in order of appearance."""
        return list(
            dict.fromkeys(
                one.labels[label] for one in self.samples if label in one.labels and metric in (None, one.metric)
            )
        )

    def failed(self) -> list[Sample]:
        """Samples that are an error."""
        return [one for one in self.samples if one.value is None]

    def line(
        self, metric: str, x: str, label: str, scale: Callable[[float], float] = lambda value: value, **labels: Any
    ) -> Series:
        """A series of a metric over the label `x`; `scale` turns a value into the chart's unit."""
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
