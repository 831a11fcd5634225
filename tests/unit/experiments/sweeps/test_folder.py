"""What a run leaves on disk: raw data, points, machines, the table, and what may be resumed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.frame.experiment import Sample
from experiments.sweeps.folder import Folder, Outcome, key_of
from hoverboard.contract.errors import InputError

RECORD: dict[str, Any] = {
    "taken": "2026-01-02T03:04:05+00:00", "command": "hoverboard", "code": {"commit": "c", "changed": False},
    "machine": {"cores": 4, "cpu": "x", "kernel": "6"}, "versions": {}, "missing": [],
}  # fmt: skip
DOCUMENT: dict[str, Any] = {
    "experiment": "dice", "where": "dice", "file": None, "parameters": {"sides": (6, 20)}, "sweep": {}, "quick": False,
    "seed": 1, "repeat": 3, "record": RECORD,
}  # fmt: skip
ONE = Outcome("sides=6", {"sides": 6}, 0, 1.5, [Sample("eyes", 4.0, "eyes", {"sides": 6})])
BROKEN = Outcome("sides=20", {"sides": 20}, 0, 0.5, [Sample("eyes", 7.0, "eyes", {"sides": 20})], "it fell")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.create(tmp_path / "out", DOCUMENT, resume=False)


@pytest.mark.parametrize(
    ("point", "changed", "key"),
    [
        ({"a": 1, "b": "x"}, {}, "a=1,b=x,repetition=2"),
        ({"a": 1}, {"s": 0.5}, "s=0.5,a=1,repetition=2"),
        ({"neighbour": "one for all", "sizes": [1, 2]}, {}, "neighbour=one_for_all,sizes=_1,_2_,repetition=2"),
        ({}, {}, "repetition=2"),
    ],
)
def test_a_key_names_the_point_for_a_file_system(point: dict[str, Any], changed: dict[str, Any], key: str) -> None:
    assert key_of(point, changed, 2) == key


def test_raw_data_are_texts_or_documents_named_after_their_point(folder: Folder) -> None:
    folder.add(replace(ONE, raw={"ping": "64 bytes", "iperf3": {"bps": 1}}))
    assert (folder.path / "raw" / "sides=6--ping.txt").read_text() == "64 bytes"
    assert json.loads((folder.path / "raw" / "sides=6--iperf3.json").read_text()) == {"bps": 1}
    assert len(list((folder.path / "raw").iterdir())) == 2
    assert "raw" not in json.loads((folder.path / "points.jsonl").read_text())


def test_outcomes_come_back_as_they_were_and_the_last_try_counts(folder: Folder) -> None:
    assert list(folder.outcomes()) == []
    folder.add(BROKEN)
    folder.add(replace(ONE, machine="m1"))
    assert list(folder.outcomes()) == [BROKEN, replace(ONE, machine="m1")]
    assert folder.done() == {"sides=6"}
    folder.add(replace(BROKEN, error=""))
    assert [one.error for one in folder.outcomes()] == ["", ""]
    assert folder.done() == {"sides=6", "sides=20"}


def test_a_point_that_ended_early_counts_as_one_failed_sample(folder: Folder) -> None:
    folder.add(ONE)
    folder.add(BROKEN)
    table = folder.table()
    assert table.values("eyes") == [4.0, 7.0]
    (failed,) = table.failed()
    assert (failed.metric, failed.error, failed.labels) == ("point", "it fell", {"sides": 20})


def test_a_point_with_a_failed_sample_is_not_done(folder: Folder) -> None:
    folder.add(ONE)
    folder.add(Outcome("sides=8", {"sides": 8}, 0, 1.0, [*ONE.samples, Sample("eyes", None, "eyes", {}, "no answer")]))
    assert folder.done() == {"sides=6"}


def test_a_folder_of_results_with_a_pipe_in_it_is_not_waited_for(folder: Folder) -> None:
    os.mkfifo(folder.path / "points.jsonl")
    with pytest.raises(InputError, match="cannot read the file of results: it is a pipe"):
        folder.table()
    (folder.path / "run.json").unlink()
    os.mkfifo(folder.path / "run.json")
    with pytest.raises(InputError, match="the folder has no readable run.json"):
        folder.document()


def test_a_line_that_a_crash_cut_off_is_left_out_and_the_next_one_stands_alone(folder: Folder) -> None:
    folder.add(ONE)
    with (folder.path / "points.jsonl").open("a") as file:
        file.write('{"key": "cut off by a cra')
    folder.add(BROKEN)
    assert [one.key for one in folder.outcomes()] == ["sides=6", "sides=20"]
    lines = (folder.path / "points.jsonl").read_text().splitlines()
    assert len(lines) == 3


def test_the_table_as_csv_has_a_column_for_each_label(folder: Folder) -> None:
    folder.add(ONE)
    folder.add(replace(BROKEN, samples=[Sample("eyes", 7.0, "eyes", {"colour": "red"})]))
    folder.write_csv()
    assert (folder.path / "samples.csv").read_text().splitlines() == [
        "metric,value,unit,error,repetition,sides,colour", "eyes,4.0,eyes,,0,6,", "eyes,7.0,eyes,,0,,red",
        "point,,,it fell,0,20,",
    ]  # fmt: skip


def test_the_machine_is_a_column_where_there_were_several(folder: Folder) -> None:
    folder.add(replace(ONE, machine="m1"))
    folder.write_csv()
    assert (folder.path / "samples.csv").read_text().splitlines() == [
        "metric,value,unit,error,repetition,sides,machine", "eyes,4.0,eyes,,0,6,m1",
    ]  # fmt: skip


def test_topologies_are_kept_once_and_machines_by_name(folder: Folder) -> None:
    folder.keep_topologies({"two": "first\n"})
    folder.keep_topologies({"two": "second\n", "three": "third\n"})
    kept = {one.name: one.read_text() for one in (folder.path / "topologies").iterdir()}
    assert kept == {"two.yaml": "first\n", "three.yaml": "third\n"}
    folder.keep_machines({"m1": {"cores": 2}})
    folder.keep_machines({"m2": {"cores": 4}})
    assert folder.document()["machines"] == {"m1": {"cores": 2}, "m2": {"cores": 4}}
    assert folder.document()["experiment"] == "dice"


def test_a_person_s_own_file_is_found_again_where_it_was_or_as_the_kept_copy(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("x = 1\n")
    folder = Folder.create(tmp_path / "out", DOCUMENT | {"where": str(own)}, resume=False)
    folder.keep_source("x = 1\n")
    assert folder.where() == str(own)
    own.unlink()
    assert folder.where() == str(folder.path / "experiment.py")
    assert (folder.path / "experiment.py").read_text() == "x = 1\n"
    named = Folder.create(tmp_path / "named", DOCUMENT | {"where": f"{own}:Mine"}, resume=False)
    assert named.where() == f"{named.path / 'experiment.py'}:Mine"
    own.touch()
    assert named.where() == f"{own}:Mine"
    assert Folder.create(tmp_path / "other", DOCUMENT, resume=False).where() == "dice"


def test_a_new_folder_may_be_there_if_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Folder.create(tmp_path / "empty", DOCUMENT, resume=True)
    assert (tmp_path / "empty" / "raw").is_dir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(InputError, match="folder is not empty"):
        Folder.create(tmp_path / "full", DOCUMENT, resume=False)
    assert not (tmp_path / "full" / "run.json").exists()


def test_a_run_is_resumed_with_any_number_of_repetitions(folder: Folder) -> None:
    folder.keep_machines({"m1": {}})
    Folder.create(folder.path, DOCUMENT | {"repeat": 9}, resume=True)
    assert (folder.document()["repeat"], folder.document()["machines"]) == (9, {"m1": {}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment": "coins"}, "has experiment dice, not coins"),
        ({"parameters": {"sides": (6,)}}, r"has parameters \{'sides': \[6, 20\]\}, not"),
        ({"sweep": {"sides": [1]}}, "has sweep"),
        ({"quick": True}, "has quick False, not True"),
        ({"seed": 2}, "has seed 1, not 2"),
        ({"record": RECORD | {"code": {"commit": "d", "changed": False}}}, "another version of the code"),
        ({"file": "0123"}, "another version of the code"),
        ({"record": RECORD | {"privileges": "rootless"}}, "is root, and this one would be rootless"),
    ],
)
def test_another_run_is_never_continued(folder: Folder, change: dict[str, Any], words: str) -> None:
    before = (folder.path / "run.json").read_text()
    with pytest.raises(InputError, match=words):
        Folder.create(folder.path, DOCUMENT | change, resume=True)
    with pytest.raises(InputError, match="has a run already"):
        Folder.create(folder.path, DOCUMENT, resume=False)
    assert (folder.path / "run.json").read_text() == before


@pytest.mark.parametrize("text", [None, "{"])
def test_a_folder_without_a_document_is_no_run_s(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"no readable run\.json|the file is no JSON"):
        Folder(tmp_path).document()


def test_files_are_written_whole_or_not_at_all(folder: Folder) -> None:
    assert not list(folder.path.rglob("*.part"))
