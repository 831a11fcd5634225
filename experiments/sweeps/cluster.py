"""Distributes a run over machines: each machine measures whole repetitions of a variation.

So all points that are compared within a repetition are measured on one machine. If a machine is lost, the
others measure its remaining points. `Cluster` is the port; dask_cluster.py has the adapter for Dask.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from experiments.frame.progress import Progress
from experiments.sweeps import runner
from experiments.sweeps.folder import Folder, Outcome
from experiments.sweeps.runner import Plan
from experiments.sweeps.worker import Job
from hoverboard.contract.errors import InputError, MeasurementError, counted


class WorkerLost(Exception):
    """A worker was lost during a measurement."""


class Cluster(Protocol):
    """Machines that measure, each one point at a time."""

    def workers(self) -> Mapping[str, dict[str, Any]]:
        """The machine of each worker (worker.describe), by the worker's address."""

    def measure(self, worker: str, job: Job) -> tuple[Outcome, dict[str, str]]:
        """Measure a point on a worker. WorkerLost: the worker was lost."""

    def finish(self, worker: str) -> None:
        """Take down the testbeds of a worker. WorkerLost: the worker was lost."""


def check_workers(workers: Mapping[str, dict[str, Any]], code: Mapping[str, Any]) -> None:
    """Check that the workers can measure for one run.

    Raises:
        InputError: there is no worker, two are on one machine, one has another version of the code, or some are root
            and some are not.
    """
    if not workers:
        raise InputError(
            "the cluster has no worker",
            where="--scheduler",
            next_step="start `hoverboard experiment worker` on machines",
        )
    machines: dict[str, str] = {}
    for address, one in workers.items():
        if one["code"] != code:
            raise InputError(
                f"the worker has {_version(one['code'])}, not {_version(code)}, and results never mix versions",
                where=address,
                next_step="check out the same commit on all machines, and restart the worker",
            )
        if one["boot"] in machines:
            raise InputError(
                f"the worker is on the same machine as {machines[one['boot']]}, and they would disturb each other",
                where=address,
                next_step="start one worker a machine",
            )
        machines[one["boot"]] = address
    by_privileges = {one["privileges"]: address for address, one in workers.items()}
    if len(by_privileges) > 1:
        raise InputError(
            f"the worker is rootless, and {by_privileges['root']} is root: results never mix the two",
            where=by_privileges["rootless"],
            next_step="start all workers with sudo, or all without",
        )


def _version(code: Mapping[str, Any]) -> str:
    return f"commit {code['commit']}{' with changes' if code['changed'] else ''}"


def run(plan: Plan, path: Path, cluster: Cluster, progress: Progress, *, resume: bool = False) -> Folder:
    """Measure all points that the folder does not have yet, on all machines of the cluster.

    Raises:
        InputError: the parameters, the folder or the workers are wrong. No point was measured.
        MeasurementError: all workers were lost. The folder has the points that were measured.
    """
    document = plan.document()
    workers = cluster.workers()
    check_workers(workers, document["record"]["code"])
    document["record"]["privileges"] = next(iter(workers.values()))["privileges"]
    folder, todo = runner.prepare(plan, path, document, resume=resume)
    folder.keep_machines({one["name"]: one for one in workers.values()})
    work = _SharedWork(plan, cluster, rounds(todo))
    threads = [threading.Thread(target=work.serve, args=(one, workers[one]["name"]), daemon=True) for one in workers]
    for one in threads:
        one.start()
    done = serving = 0
    try:
        while done < len(todo) and serving < len(threads):
            report = work.reports.get()
            if isinstance(report, str):
                serving += 1  # this worker has ended
                progress(f"{plan.experiment.name}: {report}", done / len(todo))
                continue
            outcome, topologies = report
            folder.add(outcome)
            folder.keep_topologies(topologies)
            done += 1
            progress(
                f"{plan.experiment.name}: {outcome.key} on {outcome.machine} ({done} of {len(todo)})", done / len(todo)
            )
    finally:
        work.stop()
        for one in threads:
            one.join()
    if done < len(todo):
        raise MeasurementError(
            f"no worker is left, and {counted(len(todo) - done, 'point')} not measured",
            where="--scheduler",
            next_step="start workers, and add --resume",
        )
    return folder


def rounds(todo: Sequence[runner.Todo]) -> list[list[runner.Todo]]:
    """The points in groups, one for each repetition of a variation, in their order."""
    found: dict[str, list[runner.Todo]] = {}
    for one in todo:
        found.setdefault(f"{one.repetition} {sorted(one.changed.items(), key=str)}", []).append(one)
    return list(found.values())


class _SharedWork:
    """The remaining points, and the reports of workers. One thread a worker shares it."""

    def __init__(self, plan: Plan, cluster: Cluster, several: list[list[runner.Todo]]) -> None:
        self.reports: queue.Queue[tuple[Outcome, dict[str, str]] | str] = queue.Queue()
        self._plan, self._cluster = plan, cluster
        self._run = uuid.uuid4().hex
        self._source = plan.source()
        self._rounds = deque(several)
        self._busy = 0
        self._stopped = False
        self._changed = threading.Condition()

    def stop(self) -> None:
        """Stop the work: no further point begins."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def serve(self, worker: str, name: str) -> None:
        """Give a worker one round after another, until none is left or the worker is lost."""
        ending = f"{name} has finished"
        try:
            while (several := self._next()) is not None:
                self._measure(worker, name, several)
            self._cluster.finish(worker)
        except WorkerLost as lost:
            ending = f"{name} is lost: {lost}"
        except Exception as error:  # an error of the cluster: the other workers go on
            ending = f"{name} gave up: {type(error).__name__}: {error}"
        self.reports.put(ending)

    def _next(self) -> list[runner.Todo] | None:
        """The next round; None: no round is left. Waits while a busy worker may still return its round."""
        with self._changed:
            while not self._rounds and self._busy and not self._stopped:
                self._changed.wait()
            if self._stopped or not self._rounds:
                return None
            self._busy += 1
            return self._rounds.popleft()

    def _measure(self, worker: str, name: str, several: list[runner.Todo]) -> None:
        left = deque(several)
        try:
            while left and not self._stopped:
                outcome, topologies = self._cluster.measure(worker, self._job(left[0]))
                left.popleft()
                self.reports.put((replace(outcome, machine=name), topologies))
        finally:
            with self._changed:
                self._busy -= 1
                if left:
                    self._rounds.appendleft(list(left))
                self._changed.notify_all()

    def _job(self, one: runner.Todo) -> Job:
        return Job(
            self._run, self._plan.where, self._source, one.key, one.point, one.changed, one.values, one.repetition,
            self._plan.quick, self._plan.seed, self._plan.pin,
        )  # fmt: skip
