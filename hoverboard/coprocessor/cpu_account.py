"""Who pays for a coprocessor thread: its VM (paper section 4.4). By cgroup where there is one, else by thread clock.

Only a cgroup that this module has made is ever written to or removed; its path goes into the run's
ledger by whoever asked. What was chosen, and why, is part of `status`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


class CpuAccount(Protocol):
    """Where a VM's coprocessor time is counted."""

    @property
    def how(self) -> str:
        """In words, for `status`."""

    def enter(self, thread_id: int) -> None:
        """The thread (its kernel id) belongs to the VM from now on."""

    def remove(self) -> None:
        """The thread has ended."""


@dataclass(frozen=True)
class ThreadClock:
    """No cgroup: the thread's own CPU clock is all there is."""

    why: str

    @property
    def how(self) -> str:
        """In words."""
        return f"thread clock ({self.why})"

    def enter(self, thread_id: int) -> None:
        """Nothing to do."""

    def remove(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Cgroup:
    """A control group made for one VM's coprocessor.

    Attributes:
        path: its directory, for the ledger; removing an empty cgroup is rmdir.
        version: 1 (cpu or cpuacct hierarchy) or 2 (threaded).
    """

    path: Path
    version: Literal[1, 2]

    @property
    def how(self) -> str:
        """In words."""
        return f"cgroup v{self.version} {self.path}"

    @property
    def _threads(self) -> Path:
        return self.path / ("tasks" if self.version == 1 else "cgroup.threads")

    def enter(self, thread_id: int) -> None:
        """Move the thread; OSError when the kernel refuses."""
        self._threads.write_text(str(thread_id))

    def cpu_seconds(self) -> float:
        """CPU time of everything that has been in it."""
        if self.version == 1:
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def remove(self) -> None:
        """Give it back; one that still has threads, or is gone already, is left alone."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


def planned_cgroup(
    name: str, *, mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")
) -> Path | None:
    """The cgroup that choose_account() would try to make, for the ledger; None when there is none to try."""
    try:
        found = _hierarchy(mounts.read_text(), own.read_text())
    except OSError:
        return None
    return found[0] / name if found is not None else None


def choose_account(
    name: str, *, mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")
) -> CpuAccount:
    """The best account that can be had on this machine; what was tried stands in its `how`.

    Args:
        name: of the cgroup: unique, for example hoverboard-RUN-NODE-VM.
        mounts, own: where the kernel says what is mounted, and which cgroups this process is in.
    """
    try:
        found = _hierarchy(mounts.read_text(), own.read_text())
    except OSError as error:
        return ThreadClock(f"cgroups cannot be looked up: {error.strerror}")
    if found is None:
        return ThreadClock("no cgroup hierarchy for CPU is mounted")
    parent, version = found
    path = parent / name
    try:
        path.mkdir()
    except OSError as error:
        return ThreadClock(f"no cgroup can be made in {parent}: {error.strerror}")
    group = Cgroup(path, version)
    needs = ("tasks", "cpuacct.usage") if version == 1 else ("cgroup.threads", "cgroup.type", "cpu.stat")
    try:
        missing = [file for file in needs if not (path / file).exists()]
        if missing:
            raise FileNotFoundError(2, f"no {missing[0]} in it")
        if version == 2:
            (path / "cgroup.type").write_text("threaded")
    except OSError as error:
        group.remove()
        return ThreadClock(f"cgroup {path} is of no use: {error.strerror}")
    return group


def _hierarchy(mounts: str, own: str) -> tuple[Path, Literal[1, 2]] | None:
    """The directory of this process's own cgroup where CPU time is counted, version 1 before 2.

    A version 2 thread may only go below its process's own cgroup; a version 1 one could go anywhere,
    but below its process's is where it belongs too.
    """
    homes: dict[str, str] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        homes.update((controller, path) for controller in controllers.split(","))
    second: tuple[Path, Literal[1, 2]] | None = None
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and "cpuacct" in options.split(","):
            return Path(point) / homes.get("cpuacct", "/").lstrip("/"), 1
        if kind == "cgroup2" and second is None:
            second = Path(point) / homes.get("", "/").lstrip("/"), 2
    return second
