"""Who holds a run, by its ledger."""

from __future__ import annotations

from pathlib import Path

from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.process_table import LinuxProcesses, Process
from topologies.processes.run_directory import RunDirectory


def holder_process(run: str, state: Path | None = None) -> Process | None:
    """The process that holds a run; None when it is dead."""
    records = live_processes(Ledger(RunDirectory.of(run, state)), LinuxProcesses())
    return next((record.process for record in records if record.kind == "holder"), None)
