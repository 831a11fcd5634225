"""A damaged or made-up folder of results is a clear error with file, line and key, never a fault of the testbed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from console.cli import app
from experiments.frame.experiment import Sample
from experiments.sweeps import discovery, report
from experiments.sweeps.folder import Folder, Outcome
from experiments.sweeps.folder_files import read_point, read_run
from experiments.sweeps.runner import Plan
from hoverboard.contract.errors import InputError

GOOD = asdict(Outcome("k", {"generation": "ovs"}, 0, 1.0, [Sample("mean", 1.0, "us", {"generation": "ovs"})]))
del GOOD["raw"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder.create(tmp_path / "a", Plan(discovery.find("cpu"), "cpu").document(), resume=False)
    made.add(Outcome("k", {"generation": "ovs"}, 0, 1.0, [Sample("mean", 1.0, "us", {"generation": "ovs"})]))
    return made


def damaged(document: Any) -> Iterator[Any]:
    """The document with a wrong value at each place, and without each key."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from ({**document, name: inner} for inner in damaged(value))
            yield {key: other for key, other in document.items() if key != name}
    yield from ([], 7, "x", None, {"x": 1})


def test_what_is_written_is_read() -> None:
    assert read_point(json.dumps(GOOD), "")["samples"] == [Sample("mean", 1.0, "us", {"generation": "ovs"})]


@pytest.mark.parametrize("wrong", [{}, [], 7, None, GOOD | {"samples": 7}, GOOD | {"samples": [{}]}, GOOD | {"key": 1}])
def test_a_line_that_is_no_outcome_is_an_error_with_its_number(folder: Folder, wrong: Any) -> None:
    with (folder.path / "points.jsonl").open("a") as file:
        file.write(json.dumps(wrong) + "\n")
    with pytest.raises(InputError) as caught:
        folder.table()
    assert caught.value.where == f"{folder.path}/points.jsonl:2"


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_document_or_an_input_error(data: bytes) -> None:
    text = data.decode(errors="replace")
    for read in (read_run, read_point):
        try:
            read(text, "file")
        except InputError as error:
            where = error.where
        except ValueError:
            where = "file" if read is read_point else "nowhere"
        else:
            where = "file"
        assert where == "file"


@pytest.mark.timeout(240)
def test_every_damage_of_the_files_is_told_without_a_traceback(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_drawn", lambda charts, to: [])  # to draw takes most of the time, and reads no file
    cli, run_file, points = CliRunner(), folder.path / "run.json", folder.path / "points.jsonl"
    document, path = json.loads(run_file.read_text()), str(folder.path)
    document["record"]["versions"], document["record"]["parameters"] = {"python": "3"}, {}  # the rest is no different
    verbs = [
        ["experiment", "compare", path, path],
        ["experiment", "report", path, "--markdown", str(folder.path.parent / "page.md")],
    ]
    for words in verbs:
        assert cli.invoke(app, words).exit_code == 0
    cases = [*((run_file, json.dumps(one)) for one in damaged(document)), (run_file, "\xff{"), (run_file, "[" * 9_999)]
    cases += [(points, json.dumps(one)) for one in damaged(GOOD)]
    for file, text in cases:
        kept = file.read_text()
        file.write_text(text, encoding="latin-1")
        for words in verbs:
            shown = cli.invoke(app, words)
            assert isinstance(shown.exception, SystemExit | None), (words, text, shown.exception)
            assert shown.exit_code in (0, 1, 2), (words, text, shown.stderr)  # 1: a report without a sample
            assert "internal error" not in shown.stderr, (words, text, shown.stderr)
        file.write_text(kept)


@pytest.mark.parametrize(("record", "key"), [
    ({}, "record.taken"), ({"code": {"commit": 7}}, "record.code.commit"),
    ({"machine": {"cores": "x"}}, "record.machine.cores"),
    ({"versions": []}, "record.versions"), ({"pinning": {"dataplane": 7}}, "record.pinning"),
    ({"missing": 7}, "record.missing"),
])  # fmt: skip
def test_a_record_without_what_reports_use_is_told_by_key(folder: Folder, record: dict[str, Any], key: str) -> None:
    run_file = folder.path / "run.json"
    document = json.loads(run_file.read_text())
    whole = document["record"]
    for name, value in record.items():
        inner = whole.get(name)
        whole[name] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    run_file.write_text(json.dumps(document | {"record": whole if record else {}}))
    with pytest.raises(InputError, match=key) as caught:
        folder.document()
    assert caught.value.where == str(run_file)
