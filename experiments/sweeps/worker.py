"""Measures points for a run that another machine holds, one at a time, on testbeds of this machine.

A cluster (dask_cluster.py) has these functions called on its worker, one after another: `measuring_process` does that.
Testbeds stay up from point to point, until the run is finished or another run begins.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.frame.experiment import Experiment, Point
from experiments.frame.parameters import Values
from experiments.observe import provenance
from experiments.sweeps import discovery, runner
from experiments.sweeps.bench import TestbedBench
from experiments.sweeps.folder import Outcome
from experiments.sweeps.pinning import machine, pinning_document, plan
from hoverboard import mapped_users
from hoverboard.contract.plugins import absolute, file_of


@dataclass(frozen=True, slots=True)
class Job:
    """A point to measure.

    Attributes:
        run: the name of the run. Testbeds stay up within one run.
        where: the experiment's name in the catalogue, or the path of its file.
        source: the text of the file; None: the experiment is in the catalogue.
        changed: the parameters that the sweep sets for this point.
        values: all parameters.
    """

    run: str
    where: str
    source: str | None
    key: str
    point: Point
    changed: Mapping[str, Any]
    values: Values
    repetition: int
    quick: bool
    seed: int
    pin: bool = True


class _CurrentRun:
    """The current run: its experiment and its bench."""

    def __init__(self, job: Job) -> None:
        self.run = job.run
        self.bench = TestbedBench(
            quick=job.quick, seed=job.seed, say=lambda _: None, pinning=plan(machine()) if job.pin else None
        )
        self.experiments: dict[str, Experiment] = {}

    def experiment(self, job: Job) -> Experiment:
        if job.where not in self.experiments:
            self.experiments[job.where] = load_experiment(job.where, job.source)
        return self.experiments[job.where]


_current: _CurrentRun | None = None  # a worker has one thread, and so one run at a time


def load_experiment(where: str, source: str | None) -> Experiment:
    """The experiment of a job, loaded from `source` if there is one. InputError: there is no such experiment."""
    if source is None:
        return discovery.find(where)
    with tempfile.TemporaryDirectory(prefix="hb-experiment-") as directory:
        copy = absolute(Path(where).name, Path(directory))
        path, _ = file_of(copy) or (Path(copy), "")
        path.write_text(source, encoding="utf-8")
        return discovery.find(copy)


def describe() -> dict[str, Any]:
    """The facts of this machine: name, code, versions, missing features, and whether its testbeds are root's.

    `boot` is the same for all workers of the machine.
    """
    return {
        "name": platform.node(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "privileges": mapped_users.privileges(),
        "code": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "missing": runner.missing(),
        "pinning": pinning_document(plan(machine())),
    }


def measure(job: Job) -> tuple[Outcome, dict[str, str]]:
    """Measure a point. Returns its outcome, and the topology files of its testbeds by name."""
    global _current
    if _current is None or _current.run != job.run:
        finish()
        _current = _CurrentRun(job)
    outcome = runner.measure_point(
        _current.experiment(job), job.key, job.point, job.changed, job.values, job.repetition, _current.bench
    )
    return outcome, _current.bench.topologies()


def finish() -> None:
    """Take down the testbeds of the last run."""
    global _current
    held, _current = _current, None
    if held is not None:
        held.bench.close()
