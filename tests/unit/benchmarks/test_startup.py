"""The start-up benchmark: rounds with a testbed that is made up, the middle window, bars and tables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import startup
from experiments.observe import run_cost
from experiments.observe.run_cost import Share
from hoverboard.contract.errors import RunError
from topologies.client import run_client
from topologies.processes.phases import PHASES

GIB = 2**30


def figures(seconds: float = 14.9, memory: int = 4 * GIB - 1, cpu: float = 4.9) -> dict[str, Any]:
    rows = [
        {"what": "host process", "processes": 20, "pss_bytes": memory - GIB, "idle_cpu_percent": cpu - 1},
        {"what": "ovs-vswitchd", "processes": 20, "pss_bytes": GIB, "idle_cpu_percent": 1.0},
    ]
    phases = dict.fromkeys(PHASES, 0.25)
    return {
        "topology": "rack", "up_seconds": {"median": seconds, "samples": [9.0, 11.5]}, "by_kind": rows,
        "phases": [{}, phases], "idle_seconds": 10.0, "idle_cpu_percent": [1.0, 2.0, 3.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "passed"),
    [({}, [True] * 3), ({"seconds": 15.0}, [False, True, True]), ({"memory": 4 * GIB}, [True, False, True]),
     ({"cpu": 5.0}, [True, True, False])],
)  # fmt: skip
def test_bars_add_everything_up(change: dict[str, Any], passed: list[bool]) -> None:
    bars = startup.bars(figures(**change))
    assert [bar.passed for bar in bars] == passed
    assert [bar.unit for bar in bars] == ["s", "GiB", "% of a core"]
    assert all(bar.what.startswith("rack: ") for bar in bars)


def test_tables_have_the_phases_of_the_last_start_and_what_it_costs() -> None:
    phases, costs = startup.shown(figures())
    assert list(phases.columns[1].cells) == [*["0.25"] * len(PHASES), "11.50"]
    assert list(costs.columns[0].cells) == ["host process", "ovs-vswitchd"]
    assert [list(column.cells)[1] for column in costs.columns[1:]] == ["20", "1024.0", "1.00"]
    assert "over 10 s (median of 3)" in str(costs.title)


class Rack:
    """A rack that comes up in 3 s, then 5; and whose windows cost 1, 9 and 2 % of a core."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> None:
        self.at, self.up, self.down, self.waits = 1_000_003.0, [], [], []
        self._fails = fails
        self._cpu = iter([0.0, 0.1, 1.0, 1.2])
        monkeypatch.setattr(run_client, "start_detached", self._start)
        monkeypatch.setattr(run_client, "down", self._down)
        monkeypatch.setattr(startup, "time", SimpleNamespace(monotonic=lambda: self.at))
        monkeypatch.setattr(startup, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=self._wait)))
        monkeypatch.setattr(run_cost, "run_processes", lambda run: [run])
        monkeypatch.setattr(run_cost, "shares", self._shares)

    def _start(self, topology: str, run: str) -> dict[str, Any]:
        self.up.append(run)
        self.at += 1.0 + 2.0 * len(self.up)
        if self._fails:
            raise RunError("it does not come up")
        return {"phases": {"nodes": float(len(self.up))}}

    def _down(self, run: str, missing_ok: bool) -> None:
        assert missing_ok
        self.down.append(run)
        self.at += 0.5

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds

    def _shares(self, found: list[str]) -> dict[str, Share]:
        assert found == self.up[-1:]
        return {"holder": Share(1, 5, 0.0), "host process": Share(2, 7, next(self._cpu))}


def test_a_rack_is_brought_up_and_down_and_the_last_one_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    rack = Rack(monkeypatch)
    said: list[tuple[str, float]] = []
    found = startup.measure("rack", 2, 10.0, lambda what, share: said.append((what, share)))
    assert found["up_seconds"]["samples"] == [3.0, 5.0]
    assert found["up_seconds"]["median"] == 4.0
    assert (found["phases"], found["down_seconds"]) == ([{"nodes": 1.0}, {"nodes": 2.0}], 0.5)
    assert found["idle_cpu_percent"] == pytest.approx([1.0, 9.0, 2.0])
    assert found["by_kind"] == [
        {"what": "host process", "processes": 2, "pss_bytes": 7, "idle_cpu_percent": pytest.approx(2.0)},
        {"what": "holder", "processes": 1, "pss_bytes": 5, "idle_cpu_percent": 0.0},
    ]
    assert (found["idle_seconds"], rack.waits) == (10.0, [5.0, 10.0, 10.0, 10.0])
    assert rack.up == rack.down
    assert len(set(rack.up)) == 2
    assert [share for _, share in said] == pytest.approx([0.0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_a_rack_that_does_not_come_up_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    rack = Rack(monkeypatch, fails=True)
    with pytest.raises(RunError):
        startup.measure("rack", 2, 10.0, lambda what, share: None)
    assert len(rack.down) == 1


def test_options() -> None:
    assert vars(startup.options([])) == {"topology": "rack", "repeat": 1, "idle": 10.0, "json": False, "out": None}
    assert startup.options(["--topology", "x.yaml", "--repeat", "3", "--idle", "2.5"]).idle == 2.5
