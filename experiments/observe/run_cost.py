"""Memory and CPU of a run, read from /proc for every process in its ledger, by what the process is.

Memory is PSS, so that pages that forked host processes share count once. CPU is utime + stime; the
kernel's own work for a run in softirqs is in neither.
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
    """A process of a run and what it is, e.g. "ovs-vswitchd" or "host process"."""

    process: Process
    what: str


@dataclass(frozen=True, slots=True)
class Share:
    """What all processes of one kind cost together: their number, bytes of PSS, CPU seconds so far."""

    processes: int
    pss_bytes: int
    cpu_seconds: float


def run_processes(run: str) -> list[RunProcess]:
    """Everything that lives of a run; RunError when there is no such run."""
    records = ledger.live_processes(ledger.Ledger(existing(run)), LinuxProcesses())
    return [RunProcess(record.process, record.what.partition(" of ")[0]) for record in records]


def parse_pss(smaps_rollup: str) -> int:
    """Bytes of PSS in /proc/PID/smaps_rollup; 0 when it has none, as for a process that has just ended."""
    found = _PSS.search(smaps_rollup)
    return int(found[1]) * 1024 if found else 0


def parse_ticks(stat: str) -> int:
    """utime + stime of /proc/PID/stat, in clock ticks."""
    # The name in brackets may itself hold blanks and brackets: read behind the last one.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def shares(found: Iterable[RunProcess]) -> dict[str, Share]:
    """What each kind of process costs now; a process that has ended costs nothing."""
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
    """CPU by kind between two readings `seconds` apart, in percent of one core."""
    return {
        what: 100 * (share.cpu_seconds - before[what].cpu_seconds) / seconds
        for what, share in after.items()
        if what in before
    }
