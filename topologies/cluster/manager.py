"""Cluster management (paper section 3.1): tells the fabric manager what there should be.

Sends the full update whenever the control plane comes up, and diffs in between. Knows intent only; what is
programmed is the control plane's business.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controllers.fm.fabric_client import FabricClient
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import HoverboardError, RunError
from topologies.cluster.cluster_management import ClusterManagement, Entities, ProgramState
from topologies.cluster.control_processes import ControlLayout, ControlProcesses, RoleProcess
from topologies.processes.deadlines import wait_for
from topologies.processes.launcher import Launcher
from topologies.processes.supervisor import Supervisor
from topologies.spec.region_scopes import WHOLE, PlaneScope
from topologies.spec.topology import Model, ServerSpec, Topology, to_entities

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Plan, PlannedPlane
    from hoverboard.contract.documents import Offload, PlaneStatus


_log = logging.getLogger(__name__)
_START_TIMEOUT = 30.0


class ClusterManager(ClusterManagement):
    """One control plane's processes and what it has been told.

    Attributes:
        scope: of what there is, its part.
        refused: what it has refused last of what nobody waited for; None: nothing.
    """

    def __init__(
        self,
        topology: Topology,
        layout: ControlLayout,
        directory: Path,
        logs: Path,
        launcher: Launcher,
        scope: PlaneScope = WHOLE,
    ) -> None:
        self._topology = topology
        self.scope = scope
        self.refused: str | None = None
        self.processes = ControlProcesses(layout, directory, logs, launcher, self._options, scope.process)
        self._entities: Entities = {(entity.TYPE, entity.name): entity for entity in scope.share(to_entities(topology))}
        self._lock = threading.Lock()
        self.address = f"unix:{directory / 'control.sock'}"
        self.client = FabricClient(self.address)

    def start(self) -> None:
        """Start the control plane; `wait_ready` says when it serves."""
        self.processes.start()

    def _options(self) -> list[str]:
        topology, offload = self._topology, self._topology.offload
        return [
            "--model", topology.model,
            "--threshold", str(topology.offload_threshold), "--report-interval", str(topology.report_interval),
            "--offload-keep", str(offload.keep), "--offload-lifetime", str(offload.min_lifetime),
            "--idle-expiry", str(offload.idle_expiry), "--offload-budget", str(offload.budget),
            "--offload-reports", offload.reports,
            *(("--offload-policy", offload.policy) if offload.policy is not None else ()),
            *self.scope.options,
        ]  # fmt: skip

    def endpoints(self, server: ServerSpec) -> list[tuple[str, Path]]:
        """Where a server's host agent and switch find the control plane, or each of the control planes."""
        return [self.processes.endpoint(server.underlay_ip)]

    @property
    def entities(self) -> Entities:
        """Everything it has been told there should be; not waiting for a request that is under way."""
        return dict(self._entities)

    @property
    def restarts(self) -> int:
        """How often a process of the control plane has been started again."""
        return sum(role.restarts for role in self.processes.roles)

    def wait_ready(self, timeout: float = _START_TIMEOUT) -> None:
        """Wait until the control plane serves; RunError with the log's place otherwise."""
        self.processes.wait_all_ready(timeout)
        self.client.wait_ready(timeout)

    def full_update(self) -> None:
        """Send everything there should be."""
        with self._lock:
            self.client.full_update(list(self._entities.values()))

    def supervise(self, supervisor: Supervisor) -> None:
        """From now on, what dies of the control plane is started again, and told everything there should be."""
        self.processes.supervise(supervisor, self._on_restart)

    def _on_restart(self, role: RoleProcess) -> None:
        """One of the processes was started again; who holds the intent is told it anew."""
        if role is self.processes.first:
            try:
                self.client.wait_ready(_START_TIMEOUT)
                self.full_update()
            except HoverboardError as error:
                raise RunError(f"the {role.name} does not come up", where=str(role.log)) from error

    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity."""
        with self._lock:
            self.client.diff(upsert=[entity])
            self._entities[entity.TYPE, entity.name] = entity

    def remove(self, entity: AnyEntity) -> None:
        """Remove one entity; harmless when it is not there."""
        with self._lock:
            if (entity.TYPE, entity.name) in self._entities:
                # It may be refused: a VM that is the next hop of a route stays.
                self.client.diff(remove=[(entity.TYPE, entity.name)])
                del self._entities[entity.TYPE, entity.name]

    def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
        """What `change` would do; nothing is changed (`FabricClient.plan`)."""
        return self.client.plan(upsert, remove)

    def change(
        self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity], plan: Plan | PlannedPlane | None = None
    ) -> int:
        """Many at once, all of them or none; the version that this makes."""
        with self._lock:
            expected = plan["version"] if plan is not None else None
            version = self.client.diff(upsert, remove, expected_version=expected).version
            self._record(upsert, remove)
            return version

    def _record(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> None:
        for entity in remove:
            self._entities.pop((entity.TYPE, entity.name), None)
        self._entities.update(((entity.TYPE, entity.name), entity) for entity in upsert)

    def roll_back(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> None:
        """`change`, whatever the control plane says: one that is away is told by the next full update."""
        with self._lock:
            self._record(upsert, remove)
            try:
                self.client.diff(upsert, remove)
            except HoverboardError as error:
                _log.warning("a change of %s is taken back: %s", self.processes.first.name, error)

    def withdraw(self, entity: AnyEntity) -> None:
        """Take back one entity, whatever the control plane says: one that is away is told by the next full update."""
        with self._lock:
            self._entities.pop((entity.TYPE, entity.name), None)
            try:
                self.client.diff(remove=[(entity.TYPE, entity.name)])
            except HoverboardError as error:
                _log.warning("%s %s is taken back: %s", entity.TYPE, entity.name, error)

    def set_model(self, model: Model, timeout: float) -> str:
        """Go over to another programming model; returns the one before, once that is done."""
        with self._lock:
            before = str(self.client.set_model(model)["from"])
            # A control plane that is started again from now on is to run this one.
            self._topology = replace(self._topology, model=model)

        def done() -> bool:
            status = self.client.status()
            return status.get("model") == model and status.get("switching") is None

        wait_for(done, timeout, lambda: f"waits for {self.client.status().get('switching')}", where="model set")
        return before

    def program_state(self) -> ProgramState:
        """What the control plane has brought to the switches so far."""
        status = self.client.status()
        vms = status.get("vms", {})
        switches = status.get("switches", {})
        return ProgramState(
            frozenset(name for name, switch in switches.items() if switch.get("programmed")),
            int(vms.get("intended", 0)),
            int(vms.get("joined", 0)),
        )

    def status(self) -> PlaneStatus:
        """The control plane's own status."""
        return self.client.status()

    def offloads(self) -> list[Offload]:
        """VM pairs that go host to host now."""
        return self.client.offloads()

    def close(self) -> None:
        """Close the line to the control plane; the process is the ledger's to end."""
        self.client.close()
