"""A supervisor on real processes of the test, in made-up time."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable, Iterable
from typing import Any

from tests.unit.topologies.real_processes import Children
from tests.waiting import until
from topologies.processes.process_table import LinuxProcesses, Process, identified
from topologies.processes.supervisor import Supervisor, WatchedProcess

START = 1_000_003.0
_DEADLINE = 5.0  # seconds


class Clock:
    """Made-up time, and a poller that lets it pass: it waits for processes, and jumps to what is due.

    Attributes:
        registered: descriptors that are waited for.
        in_a_pause: called in each pause, before its end.
    """

    def __init__(self) -> None:
        self.now = START
        self.registered: list[int] = []
        self.in_a_pause: Callable[[], object] = lambda: None
        self._epoll = select.epoll()

    def __call__(self) -> float:
        return self.now

    def register(self, fd: int, events: int) -> None:
        self.registered.append(fd)
        self._epoll.register(fd, events)

    def unregister(self, fd: int) -> None:
        self.registered.remove(fd)
        self._epoll.unregister(fd)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if timeout is None:
            return self._epoll.poll(_DEADLINE)
        found = self._epoll.poll(0)
        if not found:
            self.in_a_pause()
            self.now += timeout
        return found

    def close(self) -> None:
        self._epoll.close()


class Ledger:
    """Records the calls.

    Attributes:
        error: why it takes nothing any more.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def append(self, **record: Any) -> None:
        if self.error is not None:
            raise self.error
        self.records.append(record)


class Table(LinuxProcesses):
    """The real one; remembers whom it was to kill and to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, object]] = []

    def send(self, process: Process, number: signal.Signals) -> None:
        self.calls.append((process.pid, number))
        super().send(process, number)

    def wait_gone(self, processes: Iterable[Process], timeout: float) -> list[Process]:
        (process,) = processes
        self.calls.append((process.pid, timeout))
        return super().wait_gone([process], timeout)


class Patient:
    """A process that is watched.

    Attributes:
        tries: made-up times at which it was started again.
        trouble: what the next starts do instead of only starting a process.
        watched: its record in the supervisor.
    """

    watched: WatchedProcess

    def __init__(self, world: World) -> None:
        self._world = world
        self.child = world.children.start()
        self.tries: list[float] = []
        self.trouble: list[Callable[[], object]] = []

    def process(self) -> Process | None:
        return identified(self.child.pid)

    def again(self) -> None:
        self.tries.append(self._world.clock.now)
        self.child = self._world.children.start()
        if self.trouble:
            self.trouble.pop(0)()

    def die(self) -> None:
        self.child.kill()


class World:
    """A supervisor on real processes."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.clock = Clock()
        self.ledger = Ledger()
        self.table = Table()
        self.supervisor = Supervisor(self.ledger, self.clock, self.clock, self.table)  # type: ignore[arg-type]

    def watch(self, what: str = "ovs-vswitchd", server: str | None = "h1", *needs: Patient) -> Patient:
        patient = Patient(self)
        rows = [one.watched for one in needs]
        patient.watched = self.supervisor.watch(what, server, patient.process, patient.again, rows)
        return patient

    def row(self, number: int = 0) -> dict[str, Any]:
        rows = self.supervisor.status()["processes"]
        return rows[number] if number < len(rows) else {"state": None}  # type: ignore[no-any-return]

    def kill(self, patient: Patient, restarts: int) -> None:
        """Kill it, and wait until it has come back for the so-manieth time."""
        patient.die()
        until(lambda: self.row().get("restarts") == restarts and self.row()["state"] == "up")
