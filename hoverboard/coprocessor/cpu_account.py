"""Counts the CPU time of a coprocessor thread for its VM (paper section 4.4): by cgroup, else by the thread's clock.

This module writes to and removes only cgroups that it made; the caller writes their paths into the run's ledger.
`status` shows which account was chosen and why.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


class CpuAccount(Protocol):
    """The account of one VM's coprocessor time."""

    @property
    def how(self) -> str:
        """The account in words, for `status`."""

    def enter(self, thread_id: int) -> None:
        """Count the thread (its kernel id) for the VM from now on."""

    def remove(self) -> None:
        """Remove the account after the thread has ended."""


@dataclass(frozen=True)
class ThreadClock:
    """No cgroup: only the thread's own CPU clock counts."""

    why: str

    @property
    def how(self) -> str:
        """The account in words."""
        return f"thread clock ({self.why})"

    def enter(self, thread_id: int) -> None:
        """Do nothing."""

    def remove(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Cgroup:
    """A control group made for one VM's coprocessor.

    Attributes:
        path: its directory, for the ledger; rmdir removes an empty cgroup.
        version: 1 (cpu or cpuacct hierarchy) or 2 (threaded).
    """

    path: Path
    version: Literal[1, 2]

    @property
    def how(self) -> str:
        """The account in words."""
        return f"cgroup v{self.version} {self.path}"

    @property
    def _threads(self) -> Path:
        return self.path / ("tasks" if self.version == 1 else "cgroup.threads")

    def enter(self, thread_id: int) -> None:
        """Move the thread into the cgroup; raises OSError when the kernel rejects it."""
        self._threads.write_text(str(thread_id))

    def cpu_seconds(self) -> float:
        """CPU time of all threads that have been in it."""
        if self.version == 1:
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def remove(self) -> None:
        """Remove the cgroup, unless it still has threads or no longer exists."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


def planned_cgroup(
    name: str, *, mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")
) -> Path | None:
    """The cgroup that choose_account() would try to make, for the ledger; None if it would try no cgroup."""
    try:
        found = _hierarchy(mounts.read_text(), own.read_text())
    except OSError:
        return None
    return found[0] / name if found is not None else None


def choose_account(
    name: str, *, mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")
) -> CpuAccount:
    """The best account that this machine allows; its `how` says why.

    Args:
        name: name of the cgroup: unique, for example hoverboard-RUN-NODE-VM.
        mounts: the kernel's list of mounts.
        own: the kernel's list of this process's cgroups.
    """
    try:
        found = _hierarchy(mounts.read_text(), own.read_text())
    except OSError as error:
        return ThreadClock(f"the cgroups of this process cannot be read: {error.strerror}")
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
        return ThreadClock(f"cgroup {path} cannot be used: {error.strerror}")
    return group


def why_no_cgroup(*, mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")) -> str:
    """Why choose_account() would make no cgroup; "" if it would make one. Nothing is made here."""
    try:
        found = _hierarchy(mounts.read_text(), own.read_text())
    except OSError as error:
        return f"the cgroups of this process cannot be read: {error.strerror}"
    if found is None:
        return "no cgroup hierarchy for CPU is mounted"
    parent, version = found
    # A thread moves into a cgroup of version 2 only if its process may write this file of the one above.
    needed = [parent] if version == 1 else [parent, parent / "cgroup.threads"]
    if all(os.access(path, os.W_OK) for path in needed):
        return ""
    return f"cgroup v{version} {parent} is not delegated to this user"


def _hierarchy(mounts: str, own: str) -> tuple[Path, Literal[1, 2]] | None:
    """The directory of this process's own cgroup where CPU time is counted, version 1 before 2.

    A version 2 thread may only move below the cgroup of its process. A version 1 thread may move to any cgroup; below
    the cgroup of its process is the right place for it, too.
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
