"""Starts the processes of a run; each is in the ledger before it is what it is meant to be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from hoverboard.contract.errors import RunError
from topologies.processes.ledger import Ledger


def python(module: str, *arguments: str) -> list[str]:
    """The command of one of our own modules, found where this package was found."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(dict.fromkeys([root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
    return ["env", f"PYTHONPATH={path}", sys.executable, "-m", module, *arguments]


class Launcher:
    """Starts recorded processes, each in a session of its own so that a terminal's Ctrl-C spares it."""

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
        """Start `argv`, in the namespaces of `netns_pid` if given, its output going to `log`."""
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
        """A process that does nothing but keep a new network (and mount) namespace."""
        # -n: new namespaces, -p: print the pid, which comes after the namespaces are there.
        child = self.start(
            ["mnexec", "-np", "sleep", "infinity"], f"namespace of {what}", "namespace", stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        with child.stdout as ready:
            line = ready.readline()
        if not line:
            raise RunError(
                f"no namespace for {what}: exit code {child.wait()}",
                next_step="the run is being taken down, or the machine is out of processes or memory",
            )
        return child

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Reap a child that has ended."""
        child.wait()
        with self._lock:
            if child in self._children:
                self._children.remove(child)

    def reap(self, timeout: float) -> None:
        """Collect children after a sweep has killed them."""
        with self._lock:
            children, self._children = self._children, []
        for child in children:
            child.wait(timeout)
