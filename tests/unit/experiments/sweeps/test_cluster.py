"""A run shared out among machines, with a cluster of threads: every point once, whichever is lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.frame.experiment import Sample
from experiments.observe import provenance
from experiments.sweeps import cluster, discovery, runner
from experiments.sweeps.cluster import WorkerLost
from experiments.sweeps.folder import Folder, Outcome
from experiments.sweeps.runner import Plan
from experiments.sweeps.worker import Job
from hoverboard.contract.errors import InputError, MeasurementError

FILE = """
from experiments.frame.experiment import Experiment, Sample
from experiments.frame.parameters import Parameter


class Coins(Experiment):
    name, title, source, measures, minutes, repeat = "coins", "Coins", "none", "coins", 0.1, 4
    parameters = (Parameter("coins", (1, 2, 3), "", "thrown"), Parameter("worth", 1, "", "of a coin"))

    def points(self, values):
        return [{"coins": number} for number in values["coins"]]

    def measure(self, point, values, bench):
        yield Sample("worth", point["coins"] * values["worth"], "", dict(point))

    def charts(self, table, values):
        return []
"""


class FakeCluster:
    """Machines that measure at once; `lose` names those that go, after so many points."""

    def __init__(self, *names: str, lose: Mapping[str, int] | None = None) -> None:
        self.code = provenance.commit()
        self.names, self.left = names, dict(lose or {})
        self.measured: list[tuple[str, str]] = []
        self.finished: list[str] = []
        self._lock = threading.Lock()

    def workers(self) -> dict[str, dict[str, Any]]:
        facts = {"privileges": "root", "code": self.code}
        return {f"tcp://{name}": {"name": name, "boot": name, **facts} for name in self.names}

    def measure(self, address: str, job: Job) -> tuple[Outcome, dict[str, str]]:
        with self._lock:
            name = address.removeprefix("tcp://")
            if name in self.left:
                self.left[name] -= 1
                if self.left[name] < 0:
                    raise WorkerLost("unplugged")
            self.measured.append((name, job.key))
        worth = job.point["coins"] * job.values["worth"]
        return Outcome(job.key, job.point, job.repetition, 0.0, [Sample("worth", worth, "", job.point)]), {}

    def finish(self, address: str) -> None:
        self.finished.append(address)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "c" * 40, "changed": False, "version": "1"})
    monkeypatch.setattr(runner, "missing", list)
    path = tmp_path / "coins.py"
    path.write_text(FILE)
    return Plan(discovery.find(str(path)), str(path))


def quiet(_what: str, _share: float) -> None: ...


def test_every_point_once_and_a_repetition_on_one_machine(plan: Plan, tmp_path: Path) -> None:
    machines = FakeCluster("one", "two", "three")
    folder = cluster.run(plan, tmp_path / "out", machines, quiet)
    assert len(machines.measured) == len({key for _, key in machines.measured}) == 12
    of_repetition: dict[int, set[str]] = {}
    for outcome in folder.outcomes():
        of_repetition.setdefault(outcome.repetition, set()).add(outcome.machine)
    assert all(len(names) == 1 for names in of_repetition.values())
    assert sorted(machines.finished) == ["tcp://one", "tcp://three", "tcp://two"]
    assert folder.document()["machines"].keys() == {"one", "two", "three"}
    folder.write_csv()
    assert (folder.path / "samples.csv").read_text().splitlines()[
        0
    ] == "metric,value,unit,error,repetition,coins,machine"


@pytest.mark.parametrize("lose", [{"one": 0}, {"one": 2}, {"two": 4}, {"one": 1, "two": 5}])
def test_what_a_lost_machine_had_goes_to_the_others(plan: Plan, tmp_path: Path, lose: dict[str, int]) -> None:
    machines = FakeCluster("one", "two", "three", lose=lose)
    folder = cluster.run(plan, tmp_path / "out", machines, quiet)
    assert {one.key for one in folder.outcomes()} == {one.key for one in runner.prepare(
        plan, tmp_path / "other", plan.document(), resume=False)[1]}  # fmt: skip
    assert len(machines.measured) == 12


def test_when_all_are_lost_the_run_can_be_resumed(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="no worker is left, and 5 points"):
        cluster.run(plan, tmp_path / "out", FakeCluster("one", "two", lose={"one": 3, "two": 4}), quiet)
    assert len(Folder(tmp_path / "out").done()) == 7
    machines = FakeCluster("four")
    folder = cluster.run(plan, tmp_path / "out", machines, quiet, resume=True)
    assert len(machines.measured) == 5
    assert len(folder.done()) == 12
    assert folder.document()["machines"].keys() == {"one", "two", "four"}
    assert cluster.run(plan, tmp_path / "out", machines, quiet, resume=True).done() == folder.done()
    assert len(machines.measured) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "no worker"),
        ({"one": {}, "two": {"privileges": "rootless"}}, "never mix the two"),
        ({"one": {"code": {"commit": "f" * 40, "changed": False, "version": "1"}}}, "never mix versions"),
        ({"one": {}, "two": {"boot": "one"}}, "same machine"),
    ],
)
def test_workers_that_may_not_measure(
    plan: Plan, tmp_path: Path, change: dict[str, dict[str, Any]], words: str
) -> None:
    machines = FakeCluster(*change)
    found = {address: one | change[one["name"]] for address, one in machines.workers().items()}
    machines.workers = lambda: found  # type: ignore[method-assign]
    with pytest.raises(InputError, match=words) as caught:
        cluster.run(plan, tmp_path / "out", machines, quiet)
    assert caught.value.next_step
    assert not (tmp_path / "out").exists()
    assert machines.measured == []


def test_progress_tells_what_was_measured_where(plan: Plan, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    cluster.run(plan, tmp_path / "out", FakeCluster("one"), lambda what, share: seen.append((what, share)))
    assert seen[0] == ("coins: coins=1,repetition=0 on one (1 of 12)", 1 / 12)
    assert seen[11][1] == 1.0
    assert [one for one, _ in seen if "has finished" in one] in ([], ["coins: one has finished"])


def test_a_worker_that_goes_wrong_leaves_its_points_to_the_others(plan: Plan, tmp_path: Path) -> None:
    class Broken(FakeCluster):
        def measure(self, address: str, job: Job) -> tuple[Outcome, dict[str, str]]:
            if address == "tcp://one":
                raise ZeroDivisionError("of the cluster's own")
            return super().measure(address, job)

    seen: list[str] = []
    folder = cluster.run(plan, tmp_path / "out", Broken("one", "two"), lambda what, share: seen.append(what))
    assert len(folder.done()) == 12
    with pytest.raises(MeasurementError, match="no worker is left, and 12 points") as caught:
        cluster.run(plan, tmp_path / "other", Broken("one"), lambda what, share: seen.append(what))
    assert seen[-1] == "coins: one gave up: ZeroDivisionError: of the cluster's own"
    assert (caught.value.where, caught.value.next_step) == ("--scheduler", "start workers, and add --resume")


def test_topologies_and_jobs_are_those_of_the_points(plan: Plan, tmp_path: Path) -> None:
    jobs: list[Job] = []

    class Recording(FakeCluster):
        def measure(self, address: str, job: Job) -> tuple[Outcome, dict[str, str]]:
            jobs.append(job)
            return super().measure(address, job)[0], {f"testbed-{job.key}": "hosts: 1\n"}

    swept = replace(plan, sweep={"worth": [2]}, quick=True, seed=9, pin=False)
    folder = cluster.run(swept, tmp_path / "out", Recording("one"), quiet)
    assert (folder.path / "topologies" / f"testbed-{jobs[0].key}.yaml").is_file()
    assert len({one.run for one in jobs}) == 1
    first = jobs[0]
    assert (first.where, first.source, first.key) == (plan.where, FILE, "worth=2,coins=1,repetition=0")
    assert (first.point, first.changed, first.values["worth"]) == ({"coins": 1}, {"worth": 2}, 2)
    assert (first.repetition, first.quick, first.seed, first.pin) == (0, True, 9, False)


def test_rounds_are_repetitions_of_a_variation(plan: Plan, tmp_path: Path) -> None:
    swept = replace(plan, sweep={"worth": [1, 2]}, repeat=2)
    _, todo = runner.prepare(swept, tmp_path / "out", swept.document(), resume=False)
    several = cluster.rounds(todo)
    assert [[one.point["coins"] for one in part] for part in several] == [[1, 2, 3]] * 4
    assert [(part[0].repetition, part[0].changed["worth"]) for part in several] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_an_interrupted_run_begins_no_further_point(plan: Plan, tmp_path: Path) -> None:
    machines = FakeCluster("one")

    def interrupted(what: str, share: float) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        cluster.run(plan, tmp_path / "out", machines, interrupted)
    assert set(threading.enumerate()) <= before
    assert len(Folder(tmp_path / "out").done()) == 1


def test_the_record_says_whose_the_testbeds_of_the_workers_were(plan: Plan, tmp_path: Path) -> None:
    machines = FakeCluster("one")
    found = {address: one | {"privileges": "rootless"} for address, one in machines.workers().items()}
    machines.workers = lambda: found  # type: ignore[method-assign]
    folder = cluster.run(plan, tmp_path / "out", machines, quiet)
    assert folder.document()["record"]["privileges"] == "rootless"
