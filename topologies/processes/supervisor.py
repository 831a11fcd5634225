"""Restarts the processes of a run that die (paper section 3.5: every layer recovers).

The first three restarts are immediate, later ones wait longer. After eight deaths in a minute the process is given up,
and so is what needs it once that dies; `status` shows both. The caller of `watch` gives the function that restarts a
process.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hoverboard.contract.errors import HoverboardError
from topologies.processes.ledger import Ledger, LostDirectoryError
from topologies.processes.process_table import LinuxProcesses, Process

if TYPE_CHECKING:
    from hoverboard.contract import documents


_log = logging.getLogger(__name__)
IMMEDIATE_RESTARTS = 3  # deaths within DEATH_WINDOW seconds; the next restarts wait
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds; the pause doubles each time
MAX_DEATHS = 8  # within DEATH_WINDOW seconds; then the process stays down
DEATH_WINDOW = 60.0  # seconds
_JOIN_TIMEOUT = 30.0
_FINAL = ("given up", "left dead")  # states of a process that does not run any more


def pause(deaths: int) -> float | None:
    """Seconds to wait before a restart, after so many deaths within DEATH_WINDOW; None: no restart."""
    if deaths >= MAX_DEATHS:
        return None
    paused = deaths - IMMEDIATE_RESTARTS
    return 0.0 if paused <= 0 else min(FIRST_PAUSE * 2 ** (paused - 1), LONGEST_PAUSE)


@dataclass
class WatchedProcess:
    """One process of a run, over all its restarts.

    Attributes:
        what: "host process", "ovs-vswitchd", ...
        server: name of its node; None: it belongs to the whole run.
        process: gives the process by pid and start time; None while it does not run.
        restart: restarts it, and waits until it serves.
        needs: processes without which it cannot run; a restart waits until they run.
        state: "up", "down" (a restart follows), "given up" (too many deaths, of itself or of a process that it needs),
            "left dead" (restarts are suppressed).
        restarts: number of restarts.
        last_event: the last death or restart, for people.
        why: gives the reason of the last death: a signal, an exit code, an exception; None: it is not known.
        died_at, reason: time of day and reason of the last death; None: it never died, or the reason is not known.
        deaths: times of deaths within DEATH_WINDOW.
    """

    what: str
    server: str | None
    process: Callable[[], Process | None]
    restart: Callable[[], None]
    needs: tuple[WatchedProcess, ...] = ()
    state: str = "up"
    restarts: int = 0
    last_event: str | None = None
    why: Callable[[], str | None] = lambda: None
    died_at: str | None = None
    reason: str | None = None
    deaths: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name for people, with the node."""
        return self.what if self.server is None else f"{self.what} of {self.server}"

    def row(self) -> documents.Supervised:
        """The process as a document, for `status`."""
        return {
            "what": self.what,
            "server": self.server,
            "state": self.state,
            "restarts": self.restarts,
            "last": self.last_event,
            "died_at": self.died_at,
            "why": self.reason,
        }


class Poller(Protocol):
    """The functions of `select.epoll` that the supervisor needs."""

    def register(self, fd: int, events: int) -> None:
        """Add a descriptor to wait for."""

    def unregister(self, fd: int) -> None:
        """Remove a descriptor."""

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait until a descriptor is readable, or `timeout` seconds have passed; None: without a limit."""

    def close(self) -> None:
        """Close the poller's own descriptor."""


class Supervisor:
    """Watches processes in one thread; each restart has its own thread, so that several can run at once.

    Args:
        ledger: records each restart before it is made.
        clock: monotonic time in seconds.
        poller: waits for descriptors; default: an epoll.
        table: finds processes; default: those of this machine.
        lost: called once, when the ledger was deleted; there are no restarts after that.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
        poller: Poller | None = None,
        table: LinuxProcesses | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._lost = lost
        self._clock = clock
        self._table = table or LinuxProcesses()
        self._poller: Poller = poller or select.epoll()
        self._watched: dict[int, WatchedProcess] = {}  # by pidfd
        self._all: list[WatchedProcess] = []
        self._due: list[tuple[float, int, WatchedProcess]] = []
        self._order = itertools.count()
        self._suppressed: set[str] = set()  # names of nodes
        self._lock = threading.Lock()
        self._changed = threading.Condition()  # notified after each change of a state, and at the end
        self._stopping = threading.Event()
        self._wake_fd = os.eventfd(0)
        self._poller.register(self._wake_fd, select.EPOLLIN)
        self._restarts: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # those that run
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._closed = False

    def watch(
        self,
        what: str,
        server: str | None,
        process: Callable[[], Process | None],
        restart: Callable[[], None],
        needs: Iterable[WatchedProcess] = (),
        why: Callable[[], str | None] = lambda: None,
    ) -> WatchedProcess:
        """Watch a process from now on; for the arguments see `WatchedProcess`."""
        watched = WatchedProcess(what, server, process, restart, tuple(needs), why=why)
        self._all.append(watched)
        self._open(watched)
        if not self._thread.is_alive():
            self._thread.start()
        return watched

    def suppress_restarts(self, server: str) -> None:
        """Do not restart what dies on this node."""
        with self._lock:
            self._suppressed.add(server)

    def status(self) -> documents.Supervision:
        """{"watched", "restarts", "down": processes that do not run, "processes": a row for each that ever died}."""
        rows = [watched.row() for watched in list(self._all) if watched.last_event is not None]
        return {
            "watched": len(self._all),
            "restarts": sum(row["restarts"] for row in rows),
            "down": sum(row["state"] != "up" for row in rows),
            "processes": rows,
        }

    def _open(self, watched: WatchedProcess) -> None:
        process = watched.process()
        fd = None if process is None else self._table.open(process)
        if fd is None:
            self._died(watched)
            return
        with self._lock:
            self._watched[fd] = watched
        self._poller.register(fd, select.EPOLLIN)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                timeout = None if not self._due else max(0.0, self._due[0][0] - self._clock())
            for fd, _events in self._poller.poll(timeout):
                if fd == self._wake_fd:
                    os.eventfd_read(self._wake_fd)
                    continue
                self._poller.unregister(fd)
                # Remove it before it is closed: another thread may get a descriptor of the same number at once.
                with self._lock:
                    watched = self._watched.pop(fd)
                os.close(fd)
                if not self._stopping.is_set():
                    self._died(watched)
            self._start_due()

    def _died(self, watched: WatchedProcess, last: str = "") -> None:
        self._record_death(watched, last)
        self._notify()

    def _record_death(self, watched: WatchedProcess, last: str) -> None:
        now = self._clock()
        watched.deaths = [death for death in watched.deaths if death > now - DEATH_WINDOW] + [now]
        wait = pause(len(watched.deaths))
        watched.died_at, watched.reason = time.strftime("%H:%M:%S"), last or watched.why()
        watched.last_event = last or f"died at {watched.died_at}"
        with self._lock:
            if watched.server in self._suppressed:
                watched.state = "left dead"
                return
            if wait is None:
                watched.state = "given up"
                _log.error(
                    "%s died %d times in %g s: it is not restarted any more",
                    watched.name,
                    len(watched.deaths),
                    DEATH_WINDOW,
                )
                return
            watched.state = "down"
            _log.warning("%s died; it restarts%s", watched.name, f" in {wait:g} s" if wait else "")
            heapq.heappush(self._due, (now + wait, next(self._order), watched))
        os.eventfd_write(self._wake_fd, 1)

    def _start_due(self) -> None:
        now = self._clock()
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > now or self._stopping.is_set():
                    return
                watched = heapq.heappop(self._due)[2]
                if watched.server in self._suppressed:
                    watched.state = "left dead"
                    self._notify()
                    continue
                thread = threading.Thread(
                    target=self._restart, args=(watched,), name=f"restart {watched.name}", daemon=True
                )
                self._restarts.add(thread)
            try:
                thread.start()
            except RuntimeError as error:  # this process may have no more threads
                self._failed(watched, error)

    def _restart(self, watched: WatchedProcess) -> None:
        begin = self._clock()
        try:
            if not self._await_needs(watched):
                return
            self._ledger.append(record="restart", what=watched.name, number=watched.restarts + 1)
            watched.restart()
            watched.restarts += 1
            watched.state = "up"
            watched.last_event = f"restarted at {time.strftime('%H:%M:%S')} in {self._clock() - begin:.3f} s"
            _log.info("%s restarted in %.3f s", watched.name, self._clock() - begin)
            self._open(watched)
            self._notify()
        except LostDirectoryError as error:
            watched.state, watched.last_event = "left dead", error.what
            with self._lock:
                first = not self._stopping.is_set()
                self._stopping.set()
            if first:
                self.stop()
                self._lost()
            return
        except Exception as error:
            if not self._stopping.is_set():
                self._failed(watched, error)

    def _await_needs(self, watched: WatchedProcess) -> bool:
        """Wait until all processes that a restart needs run; False: the process is not restarted any more."""
        with self._changed:
            while not self._stopping.is_set():
                missing = next((need for need in watched.needs if not self._runs(need)), None)
                if missing is None:
                    return True
                if missing.state in _FINAL:
                    watched.state = missing.state
                    watched.last_event = f"{watched.last_event}; not restarted: {missing.name} is {missing.state}"
                    _log.error("%s is not restarted any more: %s is %s", watched.name, missing.name, missing.state)
                    self._changed.notify_all()
                    return False
                self._changed.wait()
        return False

    def _runs(self, watched: WatchedProcess) -> bool:
        process = watched.process() if watched.state == "up" else None
        return process is not None and self._table.alive(process)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _failed(self, watched: WatchedProcess, error: Exception) -> None:
        """Kill what may have started of a process, then count the failed restart as a death."""
        expected = isinstance(error, (HoverboardError, OSError))
        _log.warning("the restart of %s failed: %s", watched.name, error, exc_info=None if expected else error)
        try:
            process = watched.process()
            if process is not None:
                self._table.send(process, signal.SIGKILL)
                self._table.wait_gone([process], DEATH_WINDOW)
        except Exception:
            _log.exception("%s may still run after its failed restart", watched.name)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        self._died(watched, f"the restart failed: {(reason or type(error).__name__).splitlines()[0]}")

    def stop(self) -> None:
        """Restart nothing any more; harmless when repeated."""
        self._stopping.set()
        with self._lock:  # join() in another thread closes the eventfd
            if not self._closed:
                os.eventfd_write(self._wake_fd, 1)
        self._notify()

    def join(self) -> None:
        """Wait for restarts that are under way; call it after `stop`, when all processes are dead."""
        for thread in [*self._restarts, self._thread]:
            if thread.ident is not None:
                thread.join(_JOIN_TIMEOUT)
                if thread.is_alive():
                    _log.error("%s has not ended in %g s", thread.name, _JOIN_TIMEOUT)
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for fd in [*self._watched, self._wake_fd]:
            os.close(fd)
        self._poller.close()
