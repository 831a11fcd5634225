"""Results files as Markdown: rows of equal length, bars marked passed or missed, other files rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import markdown


def summary(median: float) -> dict[str, float]:
    return {"count": 3, "minimum": median / 2, "median": median, "p90": median, "maximum": 2 * median}


DOCUMENT: dict[str, Any] = {
    "command": "python -m benchmarks.datapath --repeat 3",
    "taken": "2026-11-23T07:13:09+00:00",
    "code": {"commit": "9bac519618901322a9da", "changed": True},
    "machine": {"cpu": "AMD EPYC", "cores": 2, "kernel": "6.18"},
    "figures": {
        "cases": [
            {
                "case": "TCP",
                "unit": "bit/s",
                "summary": {"fastpath": summary(6e9), "ovs": summary(4e8)},
                "fastpath_better_by": {"ovs": 15.0},
            },
            {
                "case": "flows",
                "unit": "s",
                "summary": {"fastpath": summary(1.5), "kernel": summary(3.0)},
                "fastpath_better_by": {"kernel": 2.0},
            },
        ]
    },
    "bars": [
        {"what": "TCP", "value": 15.0, "sense": ">=", "limit": 16.0, "unit": "x", "passed": False},
        {"what": "idle", "value": 3.0, "sense": "<", "limit": 5.0, "unit": "%", "passed": True},
    ],
}


def test_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(DOCUMENT))
    assert markdown.main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("`hoverboard python -m benchmarks.datapath --repeat 3`, 2026-11-23, commit 9bac519618")
    assert "commit 9bac519618 with uncommitted changes; " in lines[0]
    assert "| TCP, Gbit/s, n = 3 | 6 (3 .. 12) | 0.4 (0.2 .. 0.8) | - | 15.00 x | - |" in lines
    assert "| flows, s, n = 3 | 1.5 (0.75 .. 3) | - | 3 (1.5 .. 6) | - | 2.00 x |" in lines
    assert "| TCP | 15 x | >= 16 x | **missed** |" in lines
    assert "| idle | 3 % | < 5 % | passed |" in lines
    assert {line.count("|") for line in lines if line.startswith("| TCP,")} == {7}


def test_another_file_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    for content in ("[]", "{}", "no"):
        path.write_text(content)
        assert markdown.main([str(path)]) == 2
        assert "not a results file of a benchmark" in capsys.readouterr().err
