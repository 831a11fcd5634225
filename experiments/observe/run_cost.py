"""Memory and CPU of a run by kind of process, read from /proc for every process in the run's ledger.

Memory is PSS, so pages that forked host processes share count once. CPU is utime + stime. It does
not contain the kernel's work in softirqs.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from topologies.processes import ledger
from topologies.processes.process_table import LinuxProcesses, Process
from topologies.processes.run_directory import existing

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunProcess:
    """A process of a run and its kind, e.g. "ovs-vswitchd" or "host process"."""

    process: Process
    what: str


@dataclass(frozen=True, slots=True)
class Share:
    """The cost of all processes of one kind: their number, bytes of PSS, CPU seconds so far."""

    processes: int
    pss_bytes: int
    cpu_seconds: float


def run_processes(run: str) -> list[RunProcess]:
    """The live processes of a run. RunError: there is no run of this name."""
    records = ledger.live_processes(ledger.Ledger(existing(run)), LinuxProcesses())
    return [RunProcess(record.process, record.what.partition(" of ")[0]) for record in records]


def parse_pss(smaps_rollup: str) -> int:
    """The bytes of PSS in /proc/PID/smaps_rollup; 0 if there is no PSS, e.g. of a process that has just ended."""
    found = _PSS.search(smaps_rollup)
    return int(found[1]) * 1024 if found else 0


def parse_ticks(stat: str) -> int:
    """utime + stime of /proc/PID/stat, in clock ticks."""
    # The name in brackets may contain blanks and brackets, so read after the last bracket.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def shares(found: Iterable[RunProcess]) -> dict[str, Share]:
    """The cost of each kind of process now. A process that has ended is left out."""
    rows: dict[str, list[tuple[int, float]]] = defaultdict(list)
    tick = os.sysconf("SC_CLK_TCK")
    for member in found:
        directory = Path(f"/proc/{member.process.pid}")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pss = parse_pss((directory / "smaps_rollup").read_text())
            rows[member.what].append((pss, parse_ticks((directory / "stat").read_text()) / tick))
    return {
        what: Share(len(costs), sum(pss for pss, _ in costs), sum(cpu for _, cpu in costs))
        for what, costs in rows.items()
    }


def cpu_percent(before: Mapping[str, Share], after: Mapping[str, Share], seconds: float) -> dict[str, float]:
    """The CPU of each kind between two readings that are `seconds` apart, in percent of one core."""
    return {
        what: 100 * (share.cpu_seconds - before[what].cpu_seconds) / seconds
        for what, share in after.items()
        if what in before
    }
