"""The benchmark of a run without root: ratios, bars and tables, from samples that are made up."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from benchmarks import rootless
from hoverboard.contract.errors import RunError

ROOT = {"rack_s": 4.0, "tcp_bps": 8e9, "round_trip_us": 60.0, "packets_pps": 1e5}


def samples(**changed: float) -> dict[str, list[dict[str, float]]]:
    return {"root": [ROOT] * 3, "rootless": [ROOT | changed] * 3}


def figures(**changed: float) -> dict[str, Any]:
    found = {"quiet": samples(**changed), "busy": samples(tcp_bps=1.0)}
    return {"samples": found, "ratios": {load: rootless.ratios(one) for load, one in found.items()}}


@pytest.mark.parametrize(
    ("changed", "passed"),
    [
        ({}, [True] * 4),
        ({"rack_s": 4.5}, [False, True, True, True]),
        ({"tcp_bps": 7.7e9}, [True, False, True, True]),
        ({"round_trip_us": 62.0}, [True, True, False, True]),
        ({"packets_pps": 0.96e5}, [True, True, True, False]),
        ({"rack_s": 4.39, "tcp_bps": 7.8e9, "round_trip_us": 61.8, "packets_pps": 0.98e5}, [True] * 4),
    ],
)
def test_each_value_has_its_bar_and_a_busy_core_has_none(changed: dict[str, float], passed: list[bool]) -> None:
    assert [bar.passed for bar in rootless.bars(figures(**changed))] == passed


def test_a_table_for_each_load_has_both_medians_and_the_ratio() -> None:
    quiet, busy = rootless.shown(figures(tcp_bps=4e9))
    assert [list(column.cells)[1] for column in quiet.columns[1:]] == ["8e+09", "4e+09", "0.50"]
    assert "busy" in str(busy.title)


def test_a_side_that_fails_is_named_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 4, stdout="", stderr="hoverboard: /dev/net/tun may not be opened\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RunError, match="rootless: hoverboard: /dev/net/tun may not be opened"):
        rootless.measure(1, 1, False, lambda what, share: None)


def test_sides_take_turns_and_begin_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr(rootless, "_turn", lambda name, seconds: turns.append(name) or ROOT)
    found = rootless.measure(2, 1, True, lambda what, share: None)
    assert turns == ["rootless", "root"] * 2 + ["root", "rootless"] * 2
    assert {load: {one: len(rows) for one, rows in sides.items()} for load, sides in found.items()} == {
        "quiet": {"root": 2, "rootless": 2}, "busy": {"root": 2, "rootless": 2},
    }  # fmt: skip
