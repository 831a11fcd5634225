"""Starts the processes of a run; each is in the ledger before it executes its program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from hoverboard.contract.errors import RunError
from topologies.processes.ledger import Ledger


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this project, with this package's directory in PYTHONPATH."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(dict.fromkeys([root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
    return ["env", f"PYTHONPATH={path}", sys.executable, "-m", module, *arguments]


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
        """Start `argv`.

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
            argv = ["mnexec", "-a", str(netns_pid), *argv]
        output = open(log, "ab") if log is not None else None  # noqa: SIM115
        try:
            child = subprocess.Popen(
                self.ledger.command(argv, what, kind),
                stdin=subprocess.DEVNULL,
                stdout=stdout if stdout is not None else output or subprocess.DEVNULL,
                stderr=output or subprocess.DEVNULL,
                env={**os.environ, **env} if env else None,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()
        with self._lock:
            self._children.append(child)
        return child

    def namespace(self, what: str) -> subprocess.Popen[bytes]:
        """Start a process that only keeps a new network namespace and a new mount namespace.

        Raises:
            RunError: there is no namespace.
        """
        # -n: make new namespaces; -p: print the pid, once they exist.
        child = self.start(
            ["mnexec", "-np", "sleep", "infinity"], f"namespace of {what}", "namespace", stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        with child.stdout as ready:
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
