"""Pinned for real, on whatever CPUs there are: host processes here, what measures there, and back at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from experiments.sweeps.bench import TestbedBench
from experiments.sweeps.pinning import Pinning
from experiments.tools import tool_processes
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.process_table import LinuxProcesses

_AFFINITY = "import os; print(sorted(os.sched_getaffinity(0)))"


def _of(pid: int) -> set[frozenset[int]]:
    """CPUs of each thread of a process."""
    return {frozenset(os.sched_getaffinity(int(thread))) for thread in os.listdir(f"/proc/{pid}/task")}


@pytest.mark.timeout(120)
def test_data_planes_and_all_else_are_kept_apart(state: Path) -> None:
    before = os.sched_getaffinity(0)
    first, last = frozenset({min(before)}), frozenset({max(before)})
    bench = TestbedBench(quick=True, seed=1, say=lambda _: None, pinning=Pinning(first, last))
    try:
        bed = bench.testbed("two-hosts")
        kinds = {one.kind: one.process.pid for one in live_processes(Ledger(bed.directory), LinuxProcesses())}
        assert _of(kinds["host"]) == _of(kinds["switch"]) == {first}
        assert _of(kinds["control"]) == {last}
        tool = tool_processes.run(bed.node("blue-1"), [sys.executable, "-c", _AFFINITY], timeout=20)
        assert tool.stdout.strip() == str(sorted(last))
    finally:
        bench.close()
    assert os.sched_getaffinity(0) == before
