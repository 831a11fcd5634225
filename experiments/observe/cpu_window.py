"""The CPU time of a measurement: all CPU time of the machine in a window, less that of unrelated processes.

The kernel does most of its work for packets in softirqs, which belong to no process. So the module
takes the sum of the machine (/proc/stat) and subtracts the processes that do not belong to the run.
Time that the hypervisor gave to other machines (steal) is not a cost. It is reported separately.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.observe import run_cost
from experiments.observe.run_cost import RunProcess

_TICK = os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD


@dataclass(frozen=True, slots=True)
class ProcessTime:
    """A process: its CPU seconds so far, its parent, and whether it is a kernel thread."""

    cpu_seconds: float
    parent: int
    kernel: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds since boot, over all CPUs.

    Attributes:
        busy: user, nice, system, irq and softirq; without idle and steal.
        softirq: the part of `busy` spent in softirqs.
        steal: time that the hypervisor gave to others.
        processes: by pid.
    """

    busy: float
    softirq: float
    steal: float
    processes: Mapping[int, ProcessTime]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of a window.

    Attributes:
        cpu_seconds: the cost of the measurement: all of the machine without `others`.
        softirq, steal: as in Reading.
        others: of unrelated processes that lived before and after; not in `cpu_seconds`.
        by_kind: of the run's processes that lived before and after, by kind of process.
    """

    cpu_seconds: float
    softirq: float
    steal: float
    others: float
    by_kind: dict[str, float]


def parse_cpu(text: str) -> tuple[float, float, float]:
    """(busy, softirq, steal) of /proc/stat, in seconds. The time of guests is part of user and nice."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in text.split()[1:9])
    return (user + nice + system + irq + softirq) / _TICK, softirq / _TICK, steal / _TICK


def parse_process(stat: str) -> ProcessTime:
    """Read the text of /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()
    return ProcessTime(run_cost.parse_ticks(stat) / _TICK, int(fields[1]), bool(int(fields[6]) & _KERNEL_THREAD))


def read() -> Reading:
    """The machine's counters now."""
    processes = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                processes[int(entry)] = parse_process(Path(f"/proc/{entry}/stat").read_text())
    busy, softirq, steal = parse_cpu(Path("/proc/stat").read_text())
    return Reading(busy, softirq, steal, processes)


def descendants(processes: Mapping[int, ProcessTime], root: int) -> set[int]:
    """The pids of a process, its children, their children and so on."""
    found, fresh = {root}, {root}
    while fresh:
        fresh = {pid for pid, one in processes.items() if one.parent in fresh} - found
        found |= fresh
    return found


def cost(before: Reading, after: Reading, ours: Collection[int], kinds: Iterable[RunProcess]) -> Cost:
    """The CPU time between two readings.

    Args:
        before: the reading at the start of the window.
        after: the reading at its end.
        ours: the pids that belong to the measurement. Kernel threads always do.
        kinds: the processes that `by_kind` lists by kind.
    """
    both = {
        pid: after.processes[pid].cpu_seconds - one.cpu_seconds
        for pid, one in before.processes.items()
        if pid in after.processes
    }
    others = sum(
        spent for pid, spent in both.items() if pid not in ours and not before.processes[pid].kernel
    )  # fmt: skip
    by_kind: dict[str, float] = {}
    for member in kinds:
        pid = member.process.pid
        by_kind[member.what] = by_kind.get(member.what, 0.0) + both.get(pid, 0.0)
    return Cost(
        cpu_seconds=after.busy - before.busy - others,
        softirq=after.softirq - before.softirq,
        steal=after.steal - before.steal,
        others=others,
        by_kind={what: round(spent, 3) for what, spent in by_kind.items() if spent > 0},
    )
