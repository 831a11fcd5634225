"""The datapath benchmark end to end, as short as it gets: everybody comes up, takes a turn, and is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.datapath import __main__ as datapath
from benchmarks.datapath import bars
from benchmarks.datapath.cases import AWAKE_CASES, CASES, Plan
from topologies.processes.run_directory import run_names

PLAN = Plan(rounds=1, latency_rounds=1, seconds=1, omit=0, pings=10, round_trip_seconds=0.2)


@pytest.mark.long
def test_a_turn_of_everybody(state: Path) -> None:
    cases = [
        next(case for case in CASES if case.unit == "s/GB"),
        next(case for case in AWAKE_CASES if case.unit == "us" and case.where == "two hosts"),
    ]
    links = set(os.listdir("/sys/class/net"))
    figures = datapath.measure(cases, PLAN, lambda *_: None)
    for found in figures["cases"]:
        assert set(found["samples"]) == {"fastpath", "ovs", "kernel"}
        assert all(value > 0 for values in found["samples"].values() for value in values)
    cpu = figures["cases"][0]["details"]["fastpath"][0]
    assert cpu["by_kind"]["host process"] > 0
    assert len(bars.bars(figures["cases"])) == 3
    assert bars.table(figures["cases"]).row_count == 4
    assert run_names(state) == []
    assert set(os.listdir("/sys/class/net")) == links
