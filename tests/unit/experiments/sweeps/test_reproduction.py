"""Runs of several experiments as one page: order, counts, what is missing, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from experiments.frame.experiment import ClaimVerdict, Sample
from experiments.sweeps import discovery, reproduction
from experiments.sweeps.folder import Folder, Outcome
from experiments.sweeps.runner import Plan
from hoverboard.contract.errors import InputError
from tests.unit.experiments.sweeps.dice import FILE

RECORD = {
    "taken": "2026-11-29T12:00:00+00:00", "code": {"commit": "abcdef" * 7, "changed": False},
    "machine": {"cores": 2, "cpu": "made up", "kernel": "6.18"}, "versions": {}, "command": "hoverboard", "missing": [],
}  # fmt: skip


def made(tmp_path: Path, name: str, *results: str, seconds: float = 90.0, drawn: bool = True, **changed: Any) -> Folder:
    """A run of dice under another name, whose report has been written."""
    file = tmp_path / f"{name}.py"
    file.write_text(FILE.replace('"dice"', f'"{name}"').replace('"Dice"', f'"{name.title()}"'))
    values = Plan(discovery.find(str(file)), str(file)).variations()[0][1]
    document = {
        "experiment": name, "where": str(file), "parameters": values, "sweep": {}, "quick": False,
        "seed": 3, "repeat": 2, "record": RECORD,
    } | changed  # fmt: skip
    folder = Folder.create(tmp_path / "runs" / name, document, resume=False)
    folder.add(Outcome("a", {"sides": 6}, 0, seconds, [Sample("eyes", 4.0, "eyes", {"sides": 6})]))
    folder.add(Outcome("b", {"sides": 20}, 0, seconds, [], "it fell"))
    several = [ClaimVerdict(f"claim {number}", "p", "o", one, "w") for number, one in enumerate(results)]  # type: ignore[arg-type]
    (folder.path / "verdicts.json").write_text(json.dumps([asdict(one) for one in several]))
    if drawn:
        (folder.path / "figures").mkdir()
        (folder.path / "figures" / "eyes.png").write_bytes(name.encode())
    return folder


def test_runs_stand_in_the_catalogue_s_order_and_what_is_missing_is_named(tmp_path: Path) -> None:
    runs = [made(tmp_path, name) for name in ("own", "second", "first", "another")]
    page = tmp_path / "page.md"
    reproduction.write(runs, page, ["first", "gone", "second", "lost"])
    headings = [line for line in page.read_text().splitlines() if line.startswith("## ")]
    assert headings == ["## First", "## Second", "## Another", "## Own", "## Not in this run"]
    assert page.read_text().endswith("## Not in this run\n\n`gone`, `lost`.\n")


def test_the_head_says_on_what_it_was_measured_and_counts_the_results(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, "one", "reproduced", "not", "reproduced"), made(tmp_path, "two", "not measured", seconds=60.0),
    ]  # fmt: skip
    page = tmp_path / "page.md"
    counted = reproduction.write(runs, page, ["one", "two"])
    assert counted == {"reproduced": 2, "not": 1, "not measured": 1}
    text = page.read_text()
    assert text.startswith(
        "# The paper's evaluation beside ours\n\n"
        "This page compares the paper's claims with what one run of all experiments measured.\n\n"
        "Machine: 2 cores (made up, kernel 6.18), 2026-11-29, commit abcdefabcd. "
        "The measurements alone took 5 minutes. These commands repeat the run:\n"
    )
    assert "\nOf 4 claims: 2 reproduced, 1 not, 1 not measured.\n" in text
    assert "--quick" not in text
    assert "Not in this run" not in text


def test_runs_without_claims_and_quick_ones_say_so(tmp_path: Path) -> None:
    code = {"code": {"commit": None, "changed": True}}
    runs = [made(tmp_path, name, quick=name != "c", record=RECORD | code) for name in ("a", "b", "c")]
    reproduction.write(runs, tmp_path / "page.md", [])
    text = (tmp_path / "page.md").read_text()
    assert "commit unknown with local changes. " in text
    assert "\nNo claim of the paper was measured.\n" in text
    assert "\nMeasured with `--quick`, for a first look only: a, b.\n" in text


def test_a_section_has_verdicts_samples_and_copies_of_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    reproduction.write([made(tmp_path, "one", "partly"), made(tmp_path, "two", drawn=False)], page, [])
    section = page.read_text().split("## One\n")[1].split("## Two\n")[0].splitlines()
    assert section == [
        "", "`one`, none. What dice show", "",
        "| the paper's claim | paper | here | here / paper | verdict | why |", "|---|---|---|---|---|---|",
        "| claim 0 | p | o |  | **partly** | w |", "",
        "1 sample, 1 failed; 2 repetitions, seed 3.", "",
        "![Eyes](page/one--eyes.png)", "", "Marks are medians, bars are quartiles; n is in the legend.", "",
    ]  # fmt: skip
    assert (tmp_path / "page" / "one--eyes.png").read_bytes() == b"one"
    assert page.read_text().split("## Two\n")[1].splitlines() == [
        "", "`two`, none. What dice show", "", "The paper has no claim about this.", "",
        "1 sample, 1 failed; 2 repetitions, seed 3.",
    ]  # fmt: skip


def test_what_cannot_stand_on_one_page_is_refused(tmp_path: Path) -> None:
    one, two = made(tmp_path, "one"), made(tmp_path, "two", record=RECORD | {"code": {"commit": "f", "changed": False}})
    page = tmp_path / "page.md"
    for runs, words in (
        ([], "no run to report"),
        ([one, one], "two runs of one"),
        ([one, two], "never mix versions"),
    ):
        with pytest.raises(InputError, match=words):
            reproduction.write(runs, page, [])
    with pytest.raises(InputError, match="needs a suffix"):
        reproduction.write([one], tmp_path / "page", [])
    assert not page.exists()
    with pytest.raises(InputError) as caught:
        reproduction.write([one, two], page, [])
    assert caught.value.where == f"{one.path} and {two.path}"
