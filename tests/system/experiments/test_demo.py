"""`hoverboard demo` for real, shortened: both generations, checks, files, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.demo import demo, demo_report
from hoverboard.contract.document_schemas import check
from topologies.processes.deadlines import wait_for
from topologies.processes.run_directory import run_names

SHORT = {"seconds": 1, "omit": 1, "follow_seconds": 4, "slow_pings": 5, "pings": 40}


@pytest.mark.timeout(240)
def test_demo(state: Path, run_name: str, tmp_path: Path) -> None:
    steps: list[str] = []
    result = demo.run(demo.DemoSpec(run=run_name, **SHORT), lambda step, share: steps.append(step))  # type: ignore[arg-type]
    summary = demo_report.write(result, tmp_path)
    check("demo", summary)
    assert summary["ok"], [check for check in summary["checks"] if not check["ok"]]
    assert [generation["dataplane"] for generation in summary["generations"]] == ["fastpath", "ovs"]
    for generation in summary["generations"]:
        path = generation["path"]
        # The flow begins right behind a usage report: a whole interval goes by until the next one.
        assert 0.5 < path["offloaded_at"] < 3
        assert f"offloaded {path['offloaded_at']:.2f} s after" in "".join(one["detail"] for one in summary["checks"])
        assert path["failures"] == []
        assert all(item["bps"] > 0 for item in generation["throughput"])
    assert json.loads((tmp_path / "summary.json").read_text())["ok"]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert len(list((tmp_path / "raw").glob("*-iperf3-*.json"))) == 6
    assert "fastpath: throughput" in steps
    assert run_names() == []


@pytest.mark.timeout(240)
def test_interrupted_demo_leaves_nothing(state: Path, run_name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "console.cli", "demo", "--run", run_name, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: (state / f"{run_name}-fastpath" / "nodes").is_dir(), 120, lambda: "nothing was started")
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert run_names() == []
    assert not (tmp_path / "out").exists()
