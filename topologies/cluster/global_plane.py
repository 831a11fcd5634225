"""One region's global control plane (GACP; paper section 3.5) for cluster management: told in the background.

A thread of its own tells it one thing after the other, and again while it is away: whoever waits does so for a
bounded time, and a plane that hangs delays nothing within a region.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import HoverboardError, RunError
from topologies.cluster.control_processes import ControlLayout
from topologies.cluster.manager import ClusterManager
from topologies.processes.launcher import Launcher
from topologies.processes.supervisor import Supervisor
from topologies.spec.region_scopes import PlaneScope
from topologies.spec.topology import Topology

_log = logging.getLogger(__name__)
_RETRY_PAUSE = 0.5  # seconds until one that was away is told again


@dataclass(frozen=True, slots=True)
class _Request:
    """Something to be told; `heard` is done when the plane has taken it, or refused it."""

    what: str
    send: Callable[[], object]
    done: Future[None] = field(default_factory=Future)


class GlobalPlane(ClusterManager):
    """One region's global control plane."""

    def __init__(
        self,
        topology: Topology,
        layout: ControlLayout,
        directory: Path,
        logs: Path,
        launcher: Launcher,
        scope: PlaneScope,
    ) -> None:
        super().__init__(topology, layout, directory, logs, launcher, scope)
        self._outbox: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._ending = threading.Event()

    def notify(self, entity: AnyEntity, *, gone: bool = False) -> None:
        """Have it told of an entity, soon."""
        send = partial(self.remove if gone else self.upsert, entity)
        self._outbox.put(_Request(f"{entity.TYPE} {entity.name}", send))

    def notify_change(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Future[None]:
        """Have it told of many, soon, in one request; the future fails with what it says if it refuses."""
        request = _Request(f"a change of {len(upsert) + len(remove)}", partial(self.change, upsert, remove))
        self._outbox.put(request)
        return request.done

    def roll_back(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> None:
        """Have it told the opposite, after what it has not heard yet."""
        self.notify_change(upsert, remove)

    def flush(self, timeout: float) -> None:
        """Wait until it was told everything so far.

        Raises:
            RunError: it is away.
        """
        request = _Request("nothing", lambda: None)
        self._outbox.put(request)
        try:
            request.done.result(timeout)
        except TimeoutError:
            raise RunError(f"the {self.scope.process} does not answer", where=self.address) from None

    def supervise(self, supervisor: Supervisor) -> None:
        """From now on, it is started again when it dies, and told what there is to tell."""
        super().supervise(supervisor)
        threading.Thread(target=self._run, name=f"tell-{self.processes.first.name}", daemon=True).start()

    def close(self) -> None:
        """Stop telling."""
        self._ending.set()
        self._outbox.put(None)
        super().close()

    def _run(self) -> None:
        while (request := self._outbox.get()) is not None:
            while not self._ending.is_set():
                try:
                    request.send()
                except RunError as error:
                    _log.warning("the %s is told again: %s", self.processes.first.name, error)
                    self._ending.wait(_RETRY_PAUSE)
                    continue
                except HoverboardError as error:
                    self.refused = str(error)
                    _log.warning("the %s refuses %s: %s", self.processes.first.name, request.what, error)
                    request.done.set_exception(error)
                else:
                    request.done.set_result(None)
                break
