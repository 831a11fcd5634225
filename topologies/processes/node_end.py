"""Ends the processes of nodes that are removed while their run stays up.

They are found by their namespaces alone: what `exec`, `popen` or a user's `nsenter` has started there, and what these
have started. A process in a network namespace that was made inside a VM still has the VM's UTS and mount namespace.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

from hoverboard.contract.errors import RunError
from topologies.processes.process_table import LinuxProcesses, Process, Processes, identified

_ROUNDS = 20  # of killing, while new processes are forked


def end_processes(holders: Iterable[int], processes: Processes | None = None, timeout: float = 20.0) -> None:
    """Kill the processes that keep the namespaces of nodes, then all others in there, and wait for their end.

    No command can enter the namespaces once their holders are dead. So one look that finds no process is enough.

    Args:
        holders: pids of the processes that keep namespaces; one that is gone is left out.
        processes: default: those of this machine.
        timeout: seconds to wait for killed processes.

    Raises:
        RunError: a process did not end, or new ones start all the time.
    """
    table = processes or LinuxProcesses()
    with contextlib.ExitStack() as stack:
        keeping = [process for pid in holders if (process := identified(pid)) is not None]
        found = {inode for process in keeping for inode in table.hold(process, stack)}
        namespaces = found - {table.own_namespace(), table.own_host_name(), table.own_mounts()}
        _kill(keeping, table, timeout)
        for _ in range(_ROUNDS if namespaces else 0):
            if not _kill(table.members(namespaces), table, timeout):
                return
        if namespaces:
            raise RunError(
                "processes of a VM start others faster than they are killed",
                next_step="end the program that starts them, or take the run down",
            )


def _kill(found: Iterable[Process], table: Processes, timeout: float) -> bool:
    """Kill each process as soon as it is found, so that it has no time to start others; whether there was one."""
    killed = []
    for process in found:
        if process.pid != os.getpid():
            table.send(process, signal.SIGKILL)
            killed.append(process)
    if left := table.wait_gone(killed, timeout):
        pids = ", ".join(str(process.pid) for process in left)
        raise RunError(
            f"still alive {timeout:g} s after SIGKILL: pid {pids}",
            next_step="wait until the kernel ends them; `hoverboard down` looks for them again",
        )
    return bool(killed)
