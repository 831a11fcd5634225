"""Enters the namespaces of an ordinary user's run: new ones, or those that a first process keeps.

This module must import nothing heavy: every command pays for it.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hoverboard import mapped_users
from hoverboard.contract.errors import MachineError
from topologies.rootless import first_process, join

VARIABLE = first_process.VARIABLE
TUN = Path("/dev/net/tun")
# What two hosts with their VMs need at least; a run raises its soft limits as far as it may.
_LEAST = {resource.RLIMIT_NOFILE: ("open files (-n)", 1024), resource.RLIMIT_NPROC: ("processes (-u)", 512)}


@dataclass(frozen=True)
class FirstProcess:
    """The first process of namespaces, as the machine sees it. Its end ends all processes in them.

    Attributes:
        pid: its number.
        start: when it started, in clock ticks since the boot.
        pidns: the pid namespace in which `pid` is its number, by inode.
    """

    pid: int
    start: int
    pidns: int

    @classmethod
    def parse(cls, text: str) -> FirstProcess | None:
        """The first process for a text that `str()` made; None when the text is something else."""
        try:
            return cls(*map(int, text.split(":")))
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}:{self.pidns}"

    @property
    def visible(self) -> bool:
        """Whether we are where its number is valid. Elsewhere nothing can be said about it."""
        return own_pid_namespace() == self.pidns


def own_pid_namespace() -> int:
    """The inode of our pid namespace."""
    return os.stat("/proc/self/ns/pid").st_ino


def pid_namespace(pid: int) -> int | None:
    """The inode of a process's pid namespace; None when it is gone, or another user's."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def entered() -> FirstProcess | None:
    """The first process of the namespaces that we are in; None: we are in none of this kind."""
    found = FirstProcess.parse(os.environ.get(VARIABLE, ""))
    return found if found is not None and mapped_users.only_one() and not found.visible else None


def check_machine() -> None:
    """Check that an ordinary user can have a run on this machine.

    Raises:
        MachineError: something is missing; it names that, and the administrator's line.
    """
    for fault in (tun_fault(), limits_fault()):
        if fault is not None:
            raise fault
    for limit in _LEAST:
        soft, hard = resource.getrlimit(limit)
        if soft != hard:
            resource.setrlimit(limit, (hard, hard))


def tun_fault() -> MachineError | None:
    """Why this user can make no NIC for a VM; None: it can."""
    if os.access(TUN, os.R_OK | os.W_OK):
        return None
    there = "may not be opened by this user" if TUN.exists() else "is not there"
    step = "chmod 0666 /dev/net/tun" if TUN.exists() else "modprobe tun"
    return MachineError(f"{TUN} {there}: no VM could have a NIC", next_step=f"the administrator's line is: sudo {step}")


def limits_fault() -> MachineError | None:
    """Which limit of this user is too low for a run; None: none is."""
    for limit, (name, least) in _LEAST.items():
        hard = resource.getrlimit(limit)[1]
        if hard != resource.RLIM_INFINITY and hard < least:
            return MachineError(
                f"ulimit: this user may have {hard} {name}, and a run needs {least}",
                next_step="the administrator raises it in /etc/security/limits.d",
            )
    return None


def new(command: Sequence[str], state: Path, *, stay: bool) -> list[str]:
    """The command that runs another one in new namespaces.

    Args:
        command: to run there.
        state: the state directory; it is there, and is ours.
        stay: the namespaces stay until the last process in them has ended. Else all end with the command.
    """
    words = ["--stay"] if stay else []
    return [sys.executable, "-I", "-S", first_process.__file__, *words, "--state", str(state), *command]


def joining(first: FirstProcess, command: Sequence[str]) -> list[str]:
    """The command that runs another one in the namespaces of a first process, in our current directory.

    The state directory of the runs there is in the environment: HOVERBOARD_STATE_DIR.
    """
    return [sys.executable, "-I", "-S", join.__file__, str(first), *command]
