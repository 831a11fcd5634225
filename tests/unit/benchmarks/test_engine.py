"""The engine benchmark with an engine that is made up: turns of batches, bars, tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import engine
from hoverboard.fastpath.memory import control, ports, rings


class Engine:
    """An engine that takes 100 ns a packet, and 400 more in batches of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[tuple[int, int]] = []
        self.orders: list[int] = []
        self.egress = self
        self.port_stats = np.zeros((8, 3), np.int64)
        self.drops = np.array([2, 1])
        monkeypatch.setattr(engine, "prepare", lambda flows: self)
        monkeypatch.setattr(engine, "frame", lambda: "frame")
        monkeypatch.setattr(engine, "compose", lambda: "engines")
        monkeypatch.setattr(engine, "driver", lambda engines: self._drive)

    def set_batch(self, egress: int, ingress: int) -> None:
        self.batches.append((egress, ingress))

    def _drive(self, memory: Any, one: Any, order: Any, clock: Any) -> int:
        self.orders.append(len(order))
        self.port_stats[ports.UPLINK, 2] += len(order) // 2  # half of them are dropped
        batch = self.batches[-1][0] if self.batches else 1
        return len(order) // 2 * (500 if batch == 1 else 100)


def test_batches_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Engine(monkeypatch)
    packets = 64 * rings.SIDE_SLOTS
    found = engine.measure(engine.Plan(flows=7, rounds=2, packets=packets), lambda what, share: None)
    assert made.orders == [32 * rings.SIDE_SLOTS] + [packets] * 2 * len(engine.BATCHES)
    assert [batch for batch, _ in made.batches] == [*engine.BATCHES, *engine.BATCHES[1:], engine.BATCHES[0]]
    assert all(egress == ingress for egress, ingress in made.batches)
    assert found["samples_ns"]["1"] == [500.0, 500.0]
    assert (found["summary_ns"][str(control.BATCH_EGRESS)]["median"], found["drops"]) == (100.0, 3)
    assert (found["batched_better_by"], found["batched_better_by_least"]) == (5.0, 5.0)


@pytest.mark.parametrize(("ns", "better", "passed"), [(100.0, 2.0, [True, True]), (100.1, 1.99, [False, False])])
def test_bars(ns: float, better: float, passed: list[bool]) -> None:
    figures = {"summary_ns": {str(control.BATCH_EGRESS): {"median": ns}}, "batched_better_by": better}
    assert [(bar.value, bar.passed) for bar in engine.bars(figures)] == list(zip((ns, better), passed, strict=True))


def test_the_table_has_a_line_for_each_batch() -> None:
    figures = {"summary_ns": {"1": {"minimum": 1.0, "median": 2.25, "maximum": 3.0}}}
    assert [list(column.cells) for column in engine.table(figures).columns] == [["1"], ["1.0"], ["2.2"], ["3.0"]]
