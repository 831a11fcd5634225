"""Starts the processes of a run; each is in the ledger before it executes its program."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from hoverboard.contract.errors import RunError
from topologies.namespaces.entering import entering, host_name
from topologies.processes.ledger import Ledger

PRIVATE_UMASK = 0o077  # of every process of a run
_NAMESPACE_TIMEOUT = 60.0


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this project, with this package's directory in PYTHONPATH.

    It imports nothing from the current directory (-P), and nothing from the caller's home folder (-s). Python's other
    variables are kept only if this process uses them too; `hoverboard` does not.
    """
    root = str(Path(__file__).resolve().parents[2])
    ours = not sys.flags.ignore_environment
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep) if ours else []
    # An empty or relative entry stands for the current directory, or for a place below it.
    path = os.pathsep.join(dict.fromkeys([root, *filter(os.path.isabs, given)]))
    unset = ["PYTHONHOME"] if ours else sorted(name for name in os.environ if name.startswith("PYTHON"))
    command = [sys.executable, "-P", "-s", "-m", module, *arguments]
    return ["env", *(f"--unset={name}" for name in unset), f"PYTHONPATH={path}", *command]


def end_of(child: subprocess.Popen[bytes]) -> str | None:
    """How a child has ended, such as "SIGKILL" or "exit code 1"; None: it has not ended."""
    code = child.poll()
    if code is None or code >= 0:
        return None if code is None else f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


class Launcher:
    """Starts processes that record themselves in the ledger.

    Each has its own session, so that Ctrl-C in a terminal does not reach it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._children: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def start(
        self,
        argv: list[str],
        what: str,
        kind: str,
        *,
        netns_pid: int | None = None,
        log: Path | None = None,
        env: dict[str, str] | None = None,
        stdout: int | IO[bytes] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `argv`, in the root directory and with a umask that keeps its files from other users.

        Args:
            argv: the command.
            what: name for the ledger (`topologies.processes.ledger.ProcessRecord`).
            kind: kind for the ledger.
            netns_pid: start it in the namespaces of this process.
            log: file for its output; None: output is discarded.
            env: variables to add to the environment.
            stdout: instead of `log`, for standard output.
        """
        if netns_pid is not None:
            argv = [*entering(netns_pid), *argv]
        output = open(log, "ab") if log is not None else None  # noqa: SIM115
        try:
            child = subprocess.Popen(
                self.ledger.command(argv, what, kind),
                stdin=subprocess.DEVNULL,
                stdout=stdout if stdout is not None else output or subprocess.DEVNULL,
                stderr=output or subprocess.DEVNULL,
                env={**os.environ, **env} if env else None,
                cwd="/",  # Numba reads a configuration from the current directory, which may be another user's
                umask=PRIVATE_UMASK,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()
        with self._lock:
            self._children.append(child)
        return child

    def namespace(self, what: str) -> subprocess.Popen[bytes]:
        """Start a process that only keeps a new network, mount and UTS namespace; `what` is the host name.

        Raises:
            RunError: there is no namespace.
        """
        with host_name(what):
            # -n: make the first two; -p: print the pid, once they exist.
            child = self.start(
                ["mnexec", "-np", "sleep", "infinity"], f"namespace of {what}", "namespace", stdout=subprocess.PIPE
            )
        assert child.stdout is not None
        with child.stdout as ready:
            if not select.select([ready], [], [], _NAMESPACE_TIMEOUT)[0]:
                raise RunError(
                    f"no namespace for {what} after {_NAMESPACE_TIMEOUT:g} s: mnexec hangs",
                    next_step="check that `mnexec -n true` ends; the package mininet has mnexec",
                )
            line = ready.readline()
        if not line:
            raise RunError(
                f"no namespace for {what}: exit code {child.wait()}",
                next_step="if the run is not being taken down, check that the machine has memory and processes left",
            )
        return child

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a child, and forget it."""
        child.wait()
        with self._lock:
            if child in self._children:
                self._children.remove(child)

    def reap(self, timeout: float) -> None:
        """Wait for the end of all children, which `kill_all` has killed.

        Args:
            timeout: seconds for each.
        """
        with self._lock:
            children, self._children = self._children, []
        for child in children:
            child.wait(timeout)
