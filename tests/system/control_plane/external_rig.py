"""The topology of docs/external.md: programs in its nodes, and who reaches whom."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from hoverboard.contract.node_documents import Flows
from topologies.processes.deadlines import wait_for

DOCS = Path(__file__).parents[3] / "docs"
TOPOLOGY = DOCS / "external_controller.yaml"
ADDRESS = {"far": "10.0.0.2", "one": "10.0.0.3", "two": "10.0.0.4"}


class Nodes(Protocol):
    """A run: a Testbed of this process, or the client of one in another."""

    def pid_of(self, name: str, /) -> int:
        """Pid whose namespaces are the node's."""
        ...

    def flows(self, name: str, /) -> Flows:
        """The flows of a node's switch, and its flow table."""
        ...


def start(run: Nodes, node: str, *command: str, **options: Any) -> subprocess.Popen[Any]:
    """Start a program in the namespace of a node."""
    return subprocess.Popen(["mnexec", "-a", str(run.pid_of(node)), *command], **options)


@contextlib.contextmanager
def controller(run: Nodes, log: Path, *command: str) -> Iterator[None]:
    """An OpenFlow controller in Python that has programmed h2; it ends with the context."""
    with log.open("wb") as output:
        process = start(run, "h2", sys.executable, *command, stdout=output, stderr=output)
        try:
            wait_for(lambda: len(run.flows("h2")["openflow"]) > 5, 20.0, lambda: "h2 is not programmed", where=str(log))
            yield
        finally:
            process.terminate()
            process.communicate(timeout=20)


def pings(run: Nodes, vm: str, other: str) -> bool:
    """Whether one ping of a VM to another is answered."""
    command = ["ping", "-n", "-q", "-c", "1", "-W", "1", ADDRESS.get(other, other)]
    with start(run, vm, *command, stdout=subprocess.DEVNULL) as ping:
        ping.communicate(timeout=20)
    return ping.returncode == 0


def reaches(run: Nodes, vm: str, other: str) -> None:
    """Wait until a VM reaches another, by name or address."""
    wait_for(lambda: pings(run, vm, other), 20.0, lambda: f"{vm} does not reach {other}")
