"""The global control plane of a region (GACP; paper section 3.5): it gets changes in the background.

A background thread sends one request after the other, and retries while the plane does not answer. So a global plane
that hangs does not delay its region.
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
_RETRY_PAUSE = 0.5  # seconds between tries while the plane does not answer


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for the plane.

    Attributes:
        what: its content, for the log.
        send: sends it.
        done: completes when the plane has accepted or rejected it.
    """

    what: str
    send: Callable[[], object]
    done: Future[None] = field(default_factory=Future)


class GlobalPlane(ClusterManager):
    """Cluster management of one global control plane; `supervise` starts its background thread."""

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
        """Queue a change of one entity; the background thread sends it.

        Args:
            entity: the added, changed or removed entity.
            gone: the entity was removed.
        """
        send = partial(self.remove if gone else self.upsert, entity)
        self._outbox.put(_Request(f"{entity.TYPE} {entity.name}", send))

    def notify_change(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Future[None]:
        """Queue a change of many entities in one request; the future fails if the plane rejects it."""
        request = _Request(f"a change of {len(upsert) + len(remove)}", partial(self.change, upsert, remove))
        self._outbox.put(request)
        return request.done

    def roll_back(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> None:
        """Queue the opposite of a change, behind all requests that are not sent yet."""
        self.notify_change(upsert, remove)

    def flush(self, timeout: float) -> None:
        """Wait until the plane has answered all requests so far.

        Raises:
            RunError: it does not do so in `timeout` seconds.
        """
        request = _Request("end of queue", lambda: None)
        self._outbox.put(request)
        try:
            request.done.result(timeout)
        except TimeoutError:
            raise RunError(
                f"the {self.scope.process} does not answer", where=self.address, next_step="see `hoverboard status`"
            ) from None

    def supervise(self, supervisor: Supervisor) -> None:
        """Restart the plane from now on when it dies, and start to send what is queued."""
        super().supervise(supervisor)
        threading.Thread(target=self._run, name=f"send-{self.processes.first.name}", daemon=True).start()

    def close(self) -> None:
        """Stop sending, and close the connection."""
        self._ending.set()
        self._outbox.put(None)
        super().close()

    def _run(self) -> None:
        while (request := self._outbox.get()) is not None:
            while not self._ending.is_set():
                try:
                    request.send()
                except RunError as error:
                    _log.warning("the %s does not answer, retrying: %s", self.processes.first.name, error)
                    self._ending.wait(_RETRY_PAUSE)
                    continue
                except HoverboardError as error:
                    self.refused = str(error)
                    _log.warning("the %s rejects %s: %s", self.processes.first.name, request.what, error)
                    request.done.set_exception(error)
                else:
                    request.done.set_result(None)
                break
