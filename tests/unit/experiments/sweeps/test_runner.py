"""Runs of an experiment that measures nothing real: points, failures, resuming, sweeps, progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.frame.experiment import Sample
from experiments.observe import provenance
from experiments.sweeps import discovery, runner
from experiments.sweeps.folder import key_of
from experiments.sweeps.pinning import Cpu
from experiments.sweeps.runner import Plan
from hoverboard.contract.errors import InputError
from tests.unit.experiments.sweeps.dice import FILE, written
from tests.unit.experiments.sweeps.fake_bench import FakeBench, quiet


@pytest.fixture(autouse=True)
def known_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool is asked for its version, and git is not asked either."""
    monkeypatch.setattr(provenance, "versions", lambda: {"python": "3"})
    monkeypatch.setattr(provenance, "commit", lambda: {"commit": "c" * 40, "changed": False})
    monkeypatch.setattr(runner, "machine", list)


@pytest.fixture
def dice(tmp_path: Path) -> str:
    return written(tmp_path)


def plan(dice: str, **given: Any) -> Plan:
    options = {name: given.pop(name) for name in ("sweep", "repeat", "quick", "seed", "pin") if name in given}
    return Plan(discovery.find(dice), dice, given, **options)


def test_every_point_is_saved_with_its_raw_data(dice: str, tmp_path: Path) -> None:
    bench = FakeBench()
    folder = runner.run(plan(dice), tmp_path / "out", bench, quiet)
    keys = [key_of({"sides": sides}, {}, repetition) for repetition in range(3) for sides in (6, 20)]
    assert bench.begun == keys == [one.key for one in folder.outcomes()]
    assert [(one.point, one.repetition) for one in folder.outcomes()][1:3] == [({"sides": 20}, 0), ({"sides": 6}, 1)]
    assert len(folder.table()) == bench.ended == 6
    assert {one.name for one in (folder.path / "raw").iterdir()} == {f"{key}--throw.json" for key in keys}
    assert (folder.path / "topologies" / "none.yaml").read_text() == "hosts: 0\n"
    assert (folder.path / "experiment.py").read_text() == FILE


def test_the_document_of_a_run_says_how_it_was_made(dice: str) -> None:
    document = plan(dice, offset=2, sweep={"sides": [4], "broken": [0, 4]}, seed=5).document()
    made = document.pop("record")
    assert document == {
        "experiment": "dice", "where": dice, "file": provenance.digest(FILE),
        "parameters": {"sides": (4,), "offset": 2, "broken": 0}, "sweep": {"sides": [4], "broken": [0, 4]},
        "repeat": 3, "quick": False, "seed": 5,
    }  # fmt: skip
    assert made["parameters"] == {"offset": 2}
    assert made["pinning"] == "0 CPUs on 0 cores are too few to give any to one side alone"
    assert made["missing"]
    assert plan(dice, pin=False).document()["record"]["pinning"] == "off"
    assert Plan(discovery.find("latency"), "latency").document()["file"] is None


def test_cpus_are_recorded_where_there_are_enough(dice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "machine", lambda: [Cpu(number, number, 0) for number in range(4)])
    assert plan(dice).document()["record"]["pinning"] == {"dataplane": [0, 1], "others": [2, 3]}
    assert not any("pinning" in one for one in runner.missing())


def test_a_failed_point_keeps_its_samples_and_its_words_and_the_others_go_on(dice: str, tmp_path: Path) -> None:
    bench = FakeBench()
    folder = runner.run(plan(dice, broken=6), tmp_path / "out", bench, quiet)
    table = folder.table()
    assert len(table.values("eyes")) == 6
    assert [one.error for one in table.failed()] == ["MeasurementError: the table: it rolled under the table"] * 3
    assert bench.ended == 6
    assert all(outcome.raw == {} for outcome in folder.outcomes())
    assert len(list((folder.path / "raw").iterdir())) == 6


@pytest.mark.parametrize(
    ("raises", "words"),
    [
        ("OSError('no space')", "OSError: no space"),
        ("ZeroDivisionError('oops')", "ZeroDivisionError: oops (DICE:LINE, in dice)"),
        ("int('x' * unknown)", "NameError: name 'unknown' is not defined (DICE:LINE, in dice)"),
        ("__import__('json').loads('{')", "Expecting property name"),  # the fault shows below a line of this file
    ],
)
def test_a_fault_of_the_experiment_s_own_ends_its_point_only(
    dice: str, tmp_path: Path, raises: str, words: str
) -> None:
    Path(dice).write_text(FILE.replace('MeasurementError("it rolled under the table", where="the table")', raises))
    folder = runner.run(plan(dice, broken=6, repeat=1), tmp_path / "out", FakeBench(), quiet)
    line = next(number for number, text in enumerate(Path(dice).read_text().splitlines(), 1) if raises in text)
    error, good = [one.error for one in folder.outcomes()]
    assert words.replace("DICE", dice).replace("LINE", str(line)) in error
    assert (f"{dice}:{line}, in dice" in error) != raises.startswith("OSError")
    assert good == ""


def test_labels_of_a_sample_are_those_of_the_sweep_and_its_own(dice: str, tmp_path: Path) -> None:
    (experiment, point) = discovery.find(dice), {"sides": 6}
    bench = FakeBench()
    values = plan(dice).variations()[0][1]
    outcome = runner.measure_point(experiment, "key", point, {"offset": 7, "sides": 9}, values, 2, bench)
    assert (outcome.key, outcome.point, outcome.repetition) == ("key", {"offset": 7, "sides": 6}, 2)
    (sample,) = outcome.samples
    assert isinstance(sample, Sample)
    assert (sample.labels, sample.unit, outcome.raw) == ({"offset": 7, "sides": 6}, "eyes", {"throw": {"sides": 6}})
    assert outcome.seconds >= 0


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


def test_a_file_that_was_changed_is_another_version(dice: str, tmp_path: Path) -> None:
    runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet)
    Path(dice).write_text(FILE.replace('"eyes", values', '"EYES", values'))
    with pytest.raises(InputError, match="never mix versions"):
        runner.run(plan(dice), tmp_path / "out", FakeBench(), quiet, resume=True)


def test_nothing_is_measured_0_times(dice: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="repetitions is below 1"):
        runner.run(plan(dice, repeat=0), tmp_path / "out", FakeBench(), quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "repetitions"), [({}, 3), ({"quick": True}, 1), ({"repeat": 5}, 5), ({"quick": True, "repeat": 2}, 2)]
)
def test_repetitions_are_those_asked_for_else_the_experiment_s_own(
    dice: str, settings: dict[str, Any], repetitions: int
) -> None:
    assert plan(dice, **settings).repetitions == repetitions


def test_a_sweep_goes_through_all_combinations_and_labels_them(dice: str, tmp_path: Path) -> None:
    name, sweep = runner.parse_sweep("offset: [0, 100]\nsides: [4, 8]\n", "sweep.yaml")
    assert name is None
    folder = runner.run(plan(dice, sweep=sweep, repeat=1), tmp_path / "out", FakeBench(), quiet)
    assert [(one.labels["offset"], one.labels["sides"]) for one in folder.table().samples] == [
        (0, 4), (0, 8), (100, 4), (100, 8),
    ]  # fmt: skip
    assert min(folder.table().values("eyes", offset=100)) > 100
    assert folder.document()["parameters"] == {"sides": [4, 8], "offset": 0, "broken": 0}


def test_a_sweep_may_name_its_experiment_and_a_value_may_stand_alone() -> None:
    assert runner.parse_sweep("experiment: dice\noffset: 3\nsides: [4]\n", "x") == (
        "dice",
        {"offset": [3], "sides": [4]},
    )


@pytest.mark.parametrize(
    ("text", "words"), [("- 1\n", "a sweep is a mapping"), ("a: [1\n", "not YAML"), ("", "a sweep is a mapping")]
)
def test_bad_sweeps(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        runner.parse_sweep(text, "sweep.yaml")
    assert (caught.value.where, caught.value.next_step) == ("sweep.yaml", "write lines NAME: [VALUE, VALUE]")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"side": "6"}, "no parameter side"),
        ({"sides": "6,1"}, "not a value of sides"),
        ({"offset": "-1"}, "not a value of"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(dice: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as found:
        plan(dice, **given).variations()
    assert found.value.next_step


def test_quick_values_stand_in_for_defaults_only(dice: str) -> None:
    assert plan(dice, quick=True).variations()[0][1]["sides"] == (6,)
    assert plan(dice, quick=True, sides="8").variations()[0][1]["sides"] == (8,)


def test_progress_tells_the_point_and_how_long_the_others_take(
    dice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looked at before each point; each point reads the clock twice more. A point takes ten seconds.
    clock = iter([1_000_003.0 + second for second in (0, 0, 0, 10, 10, 10, 20, 20, 20, 30, 30, 30, 40)])
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    seen: list[tuple[str, float]] = []
    folder = runner.run(plan(dice, repeat=2), tmp_path / "out", FakeBench(), lambda *one: seen.append(one))
    assert seen == [
        ("dice: sides=6 (1 of 4, about 6 s left)", 0.0), ("dice: sides=20 (2 of 4, about 30 s left)", 0.25),
        ("dice: sides=6 (3 of 4, about 20 s left)", 0.5), ("dice: sides=20 (4 of 4, about 10 s left)", 0.75),
    ]  # fmt: skip
    assert [one.seconds for one in folder.outcomes()] == [10.0] * 4


def test_a_quick_run_does_not_guess_before_its_first_point(dice: str, tmp_path: Path) -> None:
    seen: list[str] = []
    runner.run(plan(dice, quick=True), tmp_path / "out", FakeBench(), lambda what, share: seen.append(what))
    assert seen == ["dice: sides=6 (1 of 1)"]
