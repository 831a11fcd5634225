"""Pins processes to CPUs during a measurement: data planes to one half of the cores, all other processes to the other.

Data planes are host processes and Open vSwitch. The other processes are the measuring tools with the TCP of their
VMs, the control plane and the run itself. A core is always assigned as a whole, with its siblings. All cores come
from one package if it has enough. The kernel's own work (softirqs, kernel threads) cannot be pinned.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hoverboard.contract.errors import counted

_SYS = Path("/sys/devices/system/cpu")
_PAIRS = 2  # pairs of CPUs: one for each half


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU with the kernel's number, its core and its package."""

    number: int
    core: int
    package: int


@dataclass(frozen=True, slots=True)
class Pinning:
    """The CPUs of the data planes, and those of all other processes."""

    dataplane: frozenset[int]
    others: frozenset[int]

    def document(self) -> dict[str, list[int]]:
        """The document for run.json."""
        return {"dataplane": sorted(self.dataplane), "others": sorted(self.others)}


def plan(cpus: Iterable[Cpu]) -> Pinning | str:
    """Divide the cores of a machine in two halves. A text, with the reason, if there are too few CPUs for that."""
    cores: dict[tuple[int, int], set[int]] = {}
    for one in cpus:
        cores.setdefault((one.package, one.core), set()).add(one.number)
    packages: dict[int, list[set[int]]] = {}
    for (package, _), several in sorted(cores.items()):
        packages.setdefault(package, []).append(several)
    # Memory of another package is slow, so use one package if it has enough cores for both halves.
    largest = max(packages.values(), key=len, default=[])
    chosen = largest if _enough(largest) else [several for found in packages.values() for several in found]
    if not _enough(chosen):
        number = sum(len(several) for several in chosen)
        return f"{counted(number, 'CPU')} on {counted(len(chosen), 'core')} are too few to give any to one side alone"
    half = len(chosen) // 2
    return Pinning(frozenset().union(*chosen[:half]), frozenset().union(*chosen[half:]))


def _enough(cores: Collection[set[int]]) -> bool:
    return len(cores) >= 2 and sum(len(several) for several in cores) >= 2 * _PAIRS


def machine(allowed: Collection[int] | None = None, sys: Path = _SYS) -> list[Cpu]:
    """The CPUs that this process may use, from sysfs. A CPU without data there counts as a separate core."""
    found = []
    for number in sorted(os.sched_getaffinity(0) if allowed is None else allowed):
        topology = sys / f"cpu{number}" / "topology"
        try:
            core, package = (int((topology / name).read_text()) for name in ("core_id", "physical_package_id"))
        except (OSError, ValueError):
            core, package = -1 - number, 0
        found.append(Cpu(number, core, package))
    return found


def apply(pinning: Pinning, dataplane: Iterable[int]) -> None:
    """Pin the processes `dataplane`, with all their threads, to their CPUs, and this process to the others.

    Later children of these processes have the same CPUs. Processes that have ended are left out.
    """
    for pid in dataplane:
        _pin(pid, pinning.dataplane)
    _pin(os.getpid(), pinning.others)


def _pin(pid: int, cpus: Collection[int]) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), cpus)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Restore the CPUs of this process at the end of the block."""
    before = os.sched_getaffinity(0)
    try:
        yield
    finally:
        _pin(os.getpid(), before)


def pinning_document(pinning: Pinning | str) -> Mapping[str, list[int]] | str:
    """The document for run.json: the CPUs, or the reason why no process is pinned."""
    return pinning if isinstance(pinning, str) else pinning.document()
