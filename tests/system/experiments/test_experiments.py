"""`hoverboard experiment` for real: interrupted, resumed, reported, compared; and the example of the documentation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hoverboard.contract.document_schemas import check
from topologies.processes.deadlines import wait_for
from topologies.processes.run_directory import run_names

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-P", "-m", "console.cli", "experiment"]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=150, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_is_interrupted_and_resumed_reported_and_compared(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ["run", "latency", "--set", "generations=fastpath", "--set", "seconds=0.3", "--out", str(out)]
    process = subprocess.Popen(
        [*COMMAND, *line, "--repeat", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    try:
        wait_for(lambda: (out / "points.jsonl").is_file(), 120, lambda: "no point was saved")
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "--resume" in said
    assert run_names() == []
    saved = len((out / "points.jsonl").read_text().splitlines())
    repetitions = saved // 4 + 1  # of four points each: at least one more to measure
    run(*line, "--repeat", repetitions, "--resume")
    points = [json.loads(text) for text in (out / "points.jsonl").read_text().splitlines()]
    assert len(points) == 4 * repetitions
    assert all(one["error"] == "" and len(one["samples"]) == 5 for one in points)
    assert len(list((out / "raw").iterdir())) == len(points)
    assert "preprogrammed" in next((out / "topologies").iterdir()).read_text()
    assert (out / "figures" / "percentiles-awake.png").stat().st_size > 1000
    (out / "report.html").unlink()
    run("report", out)
    assert (out / "report.html").stat().st_size > 10_000
    compared = json.loads(run("compare", out, out, "--json").stdout)
    check("experiment-compare", compared)
    assert {one["ratio"] for one in compared} == {1.0}
    assert run_names() == []


@pytest.mark.timeout(200)
def test_the_example_of_the_documentation_runs_by_its_path(state: Path, tmp_path: Path) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "experiments.md").read_text(), re.DOTALL)
    (tmp_path / "sizes.py").write_text(text)
    done = run("run", tmp_path / "sizes.py", "--quick", "--out", tmp_path / "out", "--json")
    measured = json.loads(done.stdout)
    check("experiment-run", measured)
    assert measured[0]["failed"] == 0
    rows = (tmp_path / "out" / "samples.csv").read_text().splitlines()
    assert rows[0] == "metric,value,unit,error,repetition,size"
    assert 10 <= len(rows) - 1 <= 20
    assert run_names() == []
