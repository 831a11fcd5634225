"""CPU that a measurement cost: everything the machine did in a window, less what strangers did.

Most of the kernel's work for packets is done in softirqs and belongs to no process, so the sum is
taken over the machine (/proc/stat), and the processes that are known to be others' are subtracted.
Time that the hypervisor gave to somebody else (steal) is no cost and is told apart.
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
    """A process: CPU seconds so far, its parent, whether it is a thread of the kernel's."""

    cpu_seconds: float
    parent: int
    kernel: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds since boot, over all CPUs.

    Attributes:
        busy: user, nice, system, irq and softirq; neither idle nor stolen.
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
        cpu_seconds: everything but `others`; what a measurement cost.
        softirq, steal: as in Reading.
        others: processes that were there before and after and are not ours; already left out.
        by_kind: ours that were there before and after, by what they are.
    """

    cpu_seconds: float
    softirq: float
    steal: float
    others: float
    by_kind: dict[str, float]


def parse_cpu(text: str) -> tuple[float, float, float]:
    """(busy, softirq, steal) in seconds, of /proc/stat. Guests' time is part of user and nice there."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in text.split()[1:9])
    return (user + nice + system + irq + softirq) / _TICK, softirq / _TICK, steal / _TICK


def parse_process(stat: str) -> ProcessTime:
    """Of /proc/PID/stat."""
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
    """A process and all that come from it."""
    found, fresh = {root}, {root}
    while fresh:
        fresh = {pid for pid, one in processes.items() if one.parent in fresh} - found
        found |= fresh
    return found


def cost(before: Reading, after: Reading, ours: Collection[int], kinds: Iterable[RunProcess]) -> Cost:
    """What happened between two readings.

    Args:
        ours: pids that are not strangers, beside threads of the kernel's.
        kinds: processes to tell apart by what they are.
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
