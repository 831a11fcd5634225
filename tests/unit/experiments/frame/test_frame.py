"""The frame of experiments, with one that measures nothing real: points, failures, resuming, reports, sweeps."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments import record
from experiments.frame import comparison, discovery, parameters, report, runner
from experiments.frame.bench import seed_of
from experiments.frame.experiment import Point
from experiments.frame.folder import Folder, key_of
from experiments.frame.parameters import Parameter
from experiments.frame.runner import Plan
from hoverboard.contract.errors import InputError

FILE = """
from experiments.frame.experiment import Chart, Experiment, Sample, Verdict
from experiments.frame.parameters import Parameter
from hoverboard.contract.errors import MeasurementError


class Dice(Experiment):
    name = "dice"
    title = "Dice"
    source = "none"
    measures = "what dice show"
    minutes = 0.1
    repeat = 3
    parameters = (
        Parameter("sides", (6, 20), "", "of a die", quick=(6,), least=2, most=100),
        Parameter("offset", 0, "eyes", "added to each throw", least=0),
        Parameter("broken", 0, "", "sides of the die that cannot be thrown"),
    )

    def points(self, values):
        return [{"sides": sides} for sides in values["sides"]]

    def measure(self, point, values, bench):
        bench.raw("throw", {"sides": point["sides"]})
        yield Sample("eyes", values["offset"] + bench.random().randint(1, point["sides"]), "eyes", dict(point))
        if point["sides"] == values["broken"]:
            raise MeasurementError("it rolled under the table", where="the table")

    def charts(self, table, values):
        return [Chart("eyes", "Eyes", "sides", "eyes", [table.line("eyes", "sides", "dice")])]

    def verdicts(self, table, values):
        return [Verdict("eyes < sides | always", "yes", "yes", "reproduced", "because", ratio=1.0)]
"""


class FakeBench:
    """No testbeds; counts what is measured, and interrupts when told to."""

    quick = False

    def __init__(self, interrupt_at: int = 0, seed: int = 1) -> None:
        self.begun: list[str] = []
        self._raw: dict[str, Any] = {}
        self._interrupt_at, self._seed = interrupt_at, seed

    def testbed(self, topology: Any = "", **options: Any) -> Any:
        raise AssertionError

    fresh = testbed

    def raw(self, name: str, document: Any) -> None:
        self._raw[name] = document

    def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
        return random.Random(seed_of(self._seed, self.begun[-1], of, across))

    def say(self, what: str) -> None: ...

    def begin(self, key: str) -> None:
        self.begun.append(key)
        if len(self.begun) == self._interrupt_at:
            raise KeyboardInterrupt

    def end(self) -> dict[str, Any]:
        return self._raw

    def topologies(self) -> Mapping[str, str]:
        return {"none": "hosts: 0\n"}


def quiet(what: str, share: float) -> None: ...


@pytest.fixture(autouse=True)
def fast_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks every tool for its version."""
    monkeypatch.setattr(record, "versions", lambda: {"python": "3"})


@pytest.fixture
def dice(tmp_path: Path) -> str:
    path = tmp_path / "dice.py"
    path.write_text(FILE)
    return str(path)


def plan(dice: str, **given: Any) -> Plan:
    options = {name: given.pop(name) for name in ("sweep", "repeat", "quick", "seed") if name in given}
    return Plan(discovery.find(dice), dice, given, **options)


def test_every_point_is_saved_with_its_raw_data(dice: str, tmp_path: Path) -> None:
    folder = runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet)
    assert len(folder.table()) == 6
    assert len(list((folder.path / "raw").iterdir())) == 6
    assert (folder.path / "topologies" / "none.yaml").read_text() == "hosts: 0\n"
    document = folder.document()
    assert document["parameters"]["sides"] == [6, 20]
    assert set(document["record"]) >= {"code", "machine", "versions", "missing"}


def test_a_failed_point_keeps_its_samples_and_its_words_and_the_others_go_on(dice: str, tmp_path: Path) -> None:
    folder = runner.run(plan(dice, broken=6), tmp_path / "out", FakeBench(), quiet)
    table = folder.table()
    assert len(table.values("eyes")) == 6
    (first, *others) = table.failed()
    assert "it rolled under the table" in first.error
    assert len(others) == 2
    assert "under the table" in (report.write(folder) and (folder.path / "summary.md").read_text())


def test_resuming_measures_only_what_is_missing_and_gives_the_same(dice: str, tmp_path: Path) -> None:
    whole = runner.run(plan(dice), tmp_path / "whole", FakeBench(), quiet)
    with pytest.raises(KeyboardInterrupt):
        runner.run(plan(dice), tmp_path / "out", FakeBench(interrupt_at=4), quiet)
    with (tmp_path / "out" / "points.jsonl").open("a") as file:
        file.write('{"key": "cut off by a cra')
    rest = FakeBench()
    folder = runner.run(plan(dice), tmp_path / "out", rest, quiet, resume=True)
    assert len(rest.begun) == 3
    assert [one.samples for one in folder.outcomes()] == [one.samples for one in whole.outcomes()]
    again = FakeBench()
    runner.run(plan(dice), tmp_path / "out", again, quiet, resume=True)
    assert again.begun == []


def test_a_failed_point_is_tried_again_when_resumed(dice: str, tmp_path: Path) -> None:
    runner.run(plan(dice, broken=6, repeat=1), tmp_path / "out", FakeBench(), quiet)
    again = FakeBench()
    runner.run(plan(dice, broken=6, repeat=1), tmp_path / "out", again, quiet, resume=True)
    assert again.begun == [key_of({"sides": 6}, {}, 0)]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"offset": 2}, "has parameters"), ({"seed": 2}, "has seed"), ({"quick": True}, "has parameters")],
)
def test_another_run_is_never_continued(dice: str, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet)
    with pytest.raises(InputError, match=words):
        runner.run(plan(dice, **change), tmp_path / "out", FakeBench(), quiet, resume=True)
    with pytest.raises(InputError, match="holds a run already"):
        runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet)


def test_versions_of_the_code_are_never_mixed(dice: str, tmp_path: Path) -> None:
    folder = runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet)
    document = folder.document()
    document["record"]["code"]["commit"] = "another"
    (folder.path / "run.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="another version of the code"):
        runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet, resume=True)


def test_a_sweep_goes_through_all_combinations_and_labels_them(dice: str, tmp_path: Path) -> None:
    name, sweep = runner.sweep_of("offset: [0, 100]\nsides: [4, 8]\n", "sweep.yaml")
    assert name is None
    folder = runner.run(plan(dice, sweep=sweep, repeat=1), tmp_path / "out", FakeBench(), quiet)
    assert [(one.labels["offset"], one.labels["sides"]) for one in folder.table().samples] == [
        (0, 4), (0, 8), (100, 4), (100, 8),
    ]  # fmt: skip
    assert min(folder.table().values("eyes", offset=100)) > 100


def test_the_report_stands_on_the_folder_alone(dice: str, tmp_path: Path) -> None:
    folder = Folder(runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet).path)
    (verdict,) = report.write(folder)
    assert verdict.result == "reproduced"
    page = (folder.path / "report.html").read_text()
    assert "<svg" in page
    assert "viewport" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "eyes &lt; sides | always" in page
    assert "eyes < sides \\| always" in (folder.path / "summary.md").read_text()
    assert "n = 3" in (folder.path / "figures" / "eyes.svg").read_text()
    assert (folder.path / "figures" / "eyes.png").stat().st_size > 1000
    rows = list(csv.DictReader((folder.path / "samples.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert rows[0].keys() >= {"metric", "value", "unit", "error", "sides"}


def test_two_runs_side_by_side(dice: str, tmp_path: Path) -> None:
    a = runner.run(plan(dice), tmp_path / "a", FakeBench(), quiet).table()
    b = runner.run(plan(dice, offset=1000), tmp_path / "b", FakeBench(), quiet).table()
    first, second = comparison.compare(a, b)
    assert first.apart
    assert second.b.median == second.a.median + 1000
    assert first.ratio == pytest.approx(first.b.median / first.a.median)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"side": "6"}, "no parameter side"),
        ({"sides": "6,x"}, "no value of sides"),
        ({"sides": "6,1"}, "no value of sides"),
        ({"offset": "1.5"}, "no value of offset"),
        ({"offset": "-1"}, "no value of offset"),
    ],
)
def test_bad_parameters_are_told_before_anything_runs(dice: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as found:
        plan(dice, **given).variations()
    assert found.value.next_step


def test_quick_values_stand_in_for_defaults_only(dice: str) -> None:
    assert plan(dice, quick=True).variations()[0][1]["sides"] == (6,)
    assert plan(dice, quick=True, sides="8").variations()[0][1]["sides"] == (8,)
    assert plan(dice, quick=True).repetitions == 1


@pytest.mark.parametrize(
    ("text", "words"), [("- 1\n", "a sweep is a mapping"), ("a: [1\n", "no YAML"), ("", "a sweep is a mapping")]
)
def test_bad_sweeps(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        runner.sweep_of(text, "sweep.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [("x = 1\n", "has 0 experiments"), ("import nothing_of_that_name\n", "cannot be loaded"), (None, "no such file")],
)
def test_bad_files(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words):
        discovery.find(str(path))


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="there is no experiment thruput"):
        discovery.find("thruput")


def test_the_catalogue_says_what_each_measures_and_has_quick_points() -> None:
    for name, one in discovery.catalogue().items():
        assert name == one.name
        assert one.title
        assert one.source
        assert one.measures
        assert 0 < one.minutes < 10
        for quick in (False, True):
            points: Iterable[Point] = one.points(parameters.values(one.parameters, {}, quick=quick))
            keys = [key_of(point, {}, 0) for point in points]
            assert len(set(keys)) == len(keys) > 0
            assert all(len(key) < 200 for key in keys)


def test_words_become_typed_values() -> None:
    assert Parameter("x", 1.5, "s", "").read("2") == 2.0
    assert Parameter("x", False, "", "").read("yes") is True
    assert Parameter("x", ("a",), "", "", choices=("a", "b")).read("b,a") == ("b", "a")
    with pytest.raises(InputError, match="no value of x"):
        Parameter("x", "a", "", "", choices=("a",)).read("c")


def test_those_who_are_compared_are_offered_the_same() -> None:
    one, other = (key_of({"model": name, "sizes": [1, 2], "load": 7}, {}, 0) for name in ("gateway", "on-demand"))
    assert seed_of(1, one, "pairs", ("model",)) == seed_of(1, other, "pairs", ("model",))
    different = {
        seed_of(1, one, "pairs", ()), seed_of(1, other, "pairs", ()), seed_of(1, one, "traffic", ("model",)),
        seed_of(1, one, "pairs", ("model",)), seed_of(2, one, "pairs", ("model",)),
        seed_of(1, one, "pairs", ("model", "load")), seed_of(1, one, "", ()),
        seed_of(1, key_of({"model": "gateway", "sizes": [1, 2], "load": 7}, {}, 1), "pairs", ("model",)),
    }  # fmt: skip
    assert len(different) == 8


def test_a_file_that_was_changed_is_another_version(dice: str, tmp_path: Path) -> None:
    runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet)
    assert (tmp_path / "out" / "experiment.py").read_text() == FILE
    Path(dice).write_text(FILE.replace('"eyes", values', '"EYES", values'))
    with pytest.raises(InputError, match="never mix versions"):
        runner.run(plan(dice, seed=1), tmp_path / "out", FakeBench(), quiet, resume=True)
    Path(dice).unlink()
    assert report.write(Folder(tmp_path / "out"))[0].result == "reproduced"


def test_changes_that_were_not_committed_have_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"rev-parse": "a" * 40, "status": " M x.py", "diff": "+one"}
    monkeypatch.setattr(record, "_output", lambda argv, cwd=None: said[argv[3]])
    one = record.commit()
    said["diff"] = "+another"
    assert record.commit() != one
    said["status"] = ""
    assert "changes" not in record.commit()
