"""Who gets which CPUs while something is measured: data planes one half of the cores, everybody else the other.

Data planes are host processes and Open vSwitch; everybody else is the measuring tools with their guests' TCP, the
control plane and the run itself. Cores are given whole, with their siblings, and from one package where it has enough.
What the kernel does for either side (softirqs, its threads) is not ours to place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SYS = Path("/sys/devices/system/cpu")
_PAIRS = 2  # pairs of CPUs: one for each half


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU as the kernel numbers it, and the core and package it belongs to."""

    number: int
    core: int
    package: int


@dataclass(frozen=True, slots=True)
class Pinning:
    """CPUs of the data planes, and of everybody else."""

    dataplane: frozenset[int]
    others: frozenset[int]

    def document(self) -> dict[str, list[int]]:
        """As run.json has it."""
        return {"dataplane": sorted(self.dataplane), "others": sorted(self.others)}


def plan(cpus: Iterable[Cpu]) -> Pinning | str:
    """Halve the cores of a machine; where there is no second pair of CPUs to give, why nothing is pinned."""
    cores: dict[tuple[int, int], set[int]] = {}
    for one in cpus:
        cores.setdefault((one.package, one.core), set()).add(one.number)
    packages: dict[int, list[set[int]]] = {}
    for (package, _), several in sorted(cores.items()):
        packages.setdefault(package, []).append(several)
    # Between packages memory is far: one package, if it has enough for both halves.
    largest = max(packages.values(), key=len, default=[])
    chosen = largest if _enough(largest) else [several for found in packages.values() for several in found]
    if not _enough(chosen):
        number = sum(len(several) for several in chosen)
        return f"{number} CPUs on {len(chosen)} cores are too few to give any to one side alone"
    half = len(chosen) // 2
    return Pinning(frozenset().union(*chosen[:half]), frozenset().union(*chosen[half:]))


def _enough(cores: Collection[set[int]]) -> bool:
    return len(cores) >= 2 and sum(len(several) for several in cores) >= 2 * _PAIRS


def machine(allowed: Collection[int] | None = None, sys: Path = _SYS) -> list[Cpu]:
    """The CPUs that this process may use, as sysfs tells of them; one that it does not know stands for a core."""
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
    """Put the processes `dataplane`, with all their threads, on its CPUs, and this process on the others.

    What is started from either later is there, too. A process that has ended meanwhile is left out.
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
    """This process goes where it was before, at the end of the block."""
    before = os.sched_getaffinity(0)
    try:
        yield
    finally:
        _pin(os.getpid(), before)


def pinning_document(pinning: Pinning | str) -> Mapping[str, list[int]] | str:
    """What run.json says of it."""
    return pinning if isinstance(pinning, str) else pinning.document()
