"""Runs an experiment point by point. Each point is saved when it ends, and a failed one does not stop the others."""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from experiments.frame import parameters
from experiments.frame.experiment import Bench, Experiment, Point, Sample
from experiments.frame.parameters import Values
from experiments.frame.progress import Progress
from experiments.observe import provenance
from experiments.sweeps.folder import Folder, Outcome, key_of
from experiments.sweeps.pinning import Pinning, machine, pinning_document, plan
from hoverboard.contract.errors import HoverboardError, InputError
from hoverboard.contract.plugins import file_of


class RunnerBench(Bench, Protocol):
    """The bench with the methods that the runner needs."""

    def begin(self, key: str) -> None:
        """Begin a point."""

    def end(self) -> dict[str, Any]:
        """End the point, and return its raw data."""

    def topologies(self) -> dict[str, str]:
        """The testbeds of the last point, as topology files by name."""


@dataclass(frozen=True)
class Plan:
    """The plan of a run: an experiment, its parameters, and how to measure.

    Attributes:
        where: the experiment's name in the catalogue, or the path of its file.
        given: parameters that differ from the defaults.
        sweep: parameter -> values to measure one by one. If the parameter is a tuple, they are its one value.
        pin: pin the data planes to separate CPUs, if the machine has enough.
        repeat: repetitions of each point; None: the experiment's number, or one in a quick run.
    """

    experiment: Experiment
    where: str
    given: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, list[Any]] = field(default_factory=dict)
    repeat: int | None = None
    quick: bool = False
    seed: int = 1
    pin: bool = True

    @property
    def repetitions(self) -> int:
        """The number of repetitions of each point."""
        if self.repeat is not None:
            return self.repeat
        return 1 if self.quick else self.experiment.repeat

    def variations(self) -> list[tuple[dict[str, Any], Values]]:
        """The variations as (parameters that the sweep sets, all parameters). InputError: a value is not allowed."""
        kinds = {one.name: one for one in self.experiment.parameters}
        fixed, loops = dict(self.given), {}
        for name, several in self.sweep.items():
            if name in kinds and isinstance(kinds[name].default, tuple):
                fixed[name] = several
            else:
                loops[name] = several
        found = []
        for chosen in itertools.product(*loops.values()):
            changed = dict(zip(loops, chosen, strict=True))
            found.append((changed, parameters.values(self.experiment.parameters, fixed | changed, quick=self.quick)))
        return found

    def pinning(self) -> Pinning | str:
        """The CPUs of data planes and other processes, or the reason why no process is pinned."""
        return plan(machine()) if self.pin else "off"

    def source(self) -> str | None:
        """The text of the user's own file; None: the experiment is in the catalogue, and the commit identifies it."""
        found = file_of(self.where)
        return found[0].read_text(encoding="utf-8") if found is not None else None

    def document(self) -> dict[str, Any]:
        """The run.json of this plan."""
        return {
            "experiment": self.experiment.name,
            "where": self.where,
            "file": provenance.digest(source) if (source := self.source()) is not None else None,
            "parameters": self.variations()[0][1],
            "sweep": {name: list(several) for name, several in self.sweep.items()},
            "repeat": self.repetitions,
            "quick": self.quick,
            "seed": self.seed,
            "record": provenance.record(dict(self.given))
            | {"missing": missing(), "pinning": pinning_document(self.pinning())},
        }


def missing() -> list[str]:
    """The features that this machine cannot use for measurements, as text."""
    from hoverboard.contract.generations import NAMES, available
    from topologies.emulation.ovs_daemons import datapath_type

    kind = datapath_type()
    lacking = [
        f"dataplane {name}: the kernel has no module openvswitch" for name in NAMES if name not in available(kind)
    ]
    if isinstance(pinning := plan(machine()), str):
        lacking.append(f"pinning: {pinning}")
    return lacking


def parse_sweep(text: str, where: str) -> tuple[str | None, dict[str, list[Any]]]:
    """Read the YAML of a sweep: `NAME: [VALUE, VALUE]` lines, and optionally `experiment: NAME`.

    Returns:
        The experiment's name or None, and the values of each parameter.

    Raises:
        InputError: the text is not YAML, or not a mapping.
    """
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"the sweep is not YAML: {error}", where=where, next_step="write lines NAME: [VALUE, VALUE]"
        ) from None
    if not isinstance(document, dict):
        raise InputError("a sweep is a mapping", where=where, next_step="write lines NAME: [VALUE, VALUE]")
    name = document.pop("experiment", None)
    return name, {key: several if isinstance(several, list) else [several] for key, several in document.items()}


@dataclass(frozen=True, slots=True)
class Todo:
    """A point to measure. `changed`: the parameters that the sweep sets; `values`: all parameters."""

    key: str
    point: Point
    changed: Mapping[str, Any]
    values: Values
    repetition: int


def prepare(plan: Plan, path: Path, document: dict[str, Any], *, resume: bool) -> tuple[Folder, list[Todo]]:
    """Make or open the folder of a run. Returns it with the points that it does not have yet.

    Raises:
        InputError: the parameters or the folder are wrong.
    """
    if plan.repetitions < 1:
        raise InputError("the number of repetitions is below 1", where="--repeat", next_step="give 1 or more")
    points = [(changed, values, plan.experiment.points(values)) for changed, values in plan.variations()]
    folder = Folder.create(path, document, resume=resume)
    if (source := plan.source()) is not None:
        folder.keep_source(source)
    done = folder.done()
    todo = [
        Todo(key, point, changed, values, repetition)
        for repetition in range(plan.repetitions)
        for changed, values, several in points
        for point in several
        if (key := key_of(point, changed, repetition)) not in done
    ]
    return folder, todo


def run(plan: Plan, path: Path, bench: RunnerBench, progress: Progress, *, resume: bool = False) -> Folder:
    """Measure all points that the folder does not have yet.

    Raises:
        InputError: the parameters or the folder are wrong. No point was measured.
    """
    folder, todo = prepare(plan, path, plan.document(), resume=resume)
    began = time.monotonic()
    for number, one in enumerate(todo):
        progress(_progress_text(plan, one.key, number, len(todo), time.monotonic() - began), number / max(1, len(todo)))
        folder.add(measure_point(plan.experiment, one.key, one.point, one.changed, one.values, one.repetition, bench))
        folder.keep_topologies(bench.topologies())
    return folder


def _progress_text(plan: Plan, key: str, number: int, of: int, seconds: float) -> str:
    left = 0.0
    if number:
        left = seconds / number * (of - number)
    elif not plan.quick:
        left = plan.experiment.minutes * 60
    about = f", about {left:.0f} s left" if left else ""
    return f"{plan.experiment.name}: {key.rsplit(',repetition', 1)[0]} ({number + 1} of {of}{about})"


def _place(error: Exception, experiment: Experiment) -> str:
    """FILE:LINE of an error: the last line of the experiment's own file, which has the fault or led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = type(experiment).measure.__code__.co_filename
    frame = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    return f"{frame.filename}:{frame.lineno}, in {experiment.name}"


def measure_point(
    experiment: Experiment, key: str, point: Point, changed: Mapping[str, Any], values: Values, repetition: int,
    bench: RunnerBench,
) -> Outcome:  # fmt: skip
    """Measure a point. An error becomes part of the outcome."""
    began, samples, error = time.monotonic(), [], ""
    bench.begin(key)
    try:
        for one in experiment.measure(point, values, bench):
            samples.append(Sample(one.metric, one.value, one.unit, {**changed, **one.labels}, one.error))
    except (HoverboardError, OSError) as caught:
        error = f"{type(caught).__name__}: {caught}"
    except Exception as caught:  # a fault of the experiment: the run goes on, and the report shows it
        error = f"{type(caught).__name__}: {caught} ({_place(caught, experiment)})"
    finally:
        raw = bench.end()
    return Outcome(key, {**changed, **point}, repetition, round(time.monotonic() - began, 3), samples, error, raw)
