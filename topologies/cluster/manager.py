"""Cluster management of one control plane (paper section 3.1): sends the intent to its fabric manager.

It sends a full update at each start of the control plane, and diffs in between. It knows the intent only; the control
plane programs the switches.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from controllers.fm.fabric_client import FabricClient
from hoverboard.contract.entities import AnyEntity, FirewallRule
from hoverboard.contract.errors import HoverboardError, RunError
from hoverboard.contract.wire import fabric_pb2 as pb
from topologies.cluster.cluster_management import STATUS_TIMEOUT, ClusterManagement, Entities, ProgramState
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
_END_TIMEOUT = 5.0  # seconds, for a process that ends


def offload_message(topology: Topology) -> pb.OffloadSettings:
    """The offload policy of a topology and its settings, as a message."""
    offload = topology.offload
    return pb.OffloadSettings(
        threshold_bps=topology.offload_threshold, keep_bps=offload.keep, minimum_lifetime=offload.min_lifetime,
        idle_expiry=offload.idle_expiry, budget=offload.budget, policy=offload.policy or "",
    )  # fmt: skip


class ClusterManager(ClusterManagement):
    """The processes of one control plane, and the intent that was sent to it.

    Args:
        scope: the part of the topology that the control plane gets; default: all.

    Attributes:
        scope: see above.
        refused: the last error of a change that was sent in the background; None: no error.
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
        """Start the control plane; `wait_ready` waits until it serves."""
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
        """gRPC address and OpenFlow socket of the control plane, for a node."""
        return [self.processes.endpoint(server.underlay_ip)]

    @property
    def entities(self) -> Entities:
        """The intent as it was sent; a request that is under way is not waited for."""
        return dict(self._entities)

    def firewall_rules(self, timeout: float) -> list[tuple[str, str]]:
        """(network, name) of each firewall rule (see `ClusterManagement`)."""
        found = {(one.network, one.name) for one in self.entities.values() if isinstance(one, FirewallRule)}
        with contextlib.suppress(HoverboardError):
            rules = self.client.entities(FirewallRule.TYPE, timeout)["entities"]
            found |= {(str(rule["network"]), str(rule["name"])) for rule in rules}
        return sorted(found)

    @property
    def restarts(self) -> int:
        """Number of restarts of all processes of the control plane."""
        return sum(role.restarts for role in self.processes.roles)

    def wait_ready(self, timeout: float = _START_TIMEOUT) -> None:
        """Wait until the control plane serves.

        Raises:
            RunError: it does not serve in time; the error names its log.
        """
        self.processes.wait_all_ready(timeout)
        self.client.wait_ready(timeout)

    def full_update(self) -> None:
        """Send the whole intent."""
        with self._lock:
            self.client.full_update(list(self._entities.values()))

    def supervise(self, supervisor: Supervisor) -> None:
        """Restart from now on what dies of the control plane, and send it the whole intent."""
        self.processes.supervise(supervisor, self._on_restart)

    def _on_restart(self, role: RoleProcess) -> None:
        """Send the whole intent after a restart, if the process is the one that holds it."""
        if role is self.processes.first:
            try:
                self.client.wait_ready(_START_TIMEOUT)
                self.full_update()
            except HoverboardError as error:
                raise RunError(
                    f"the {role.name} does not take the intent after its restart: {error}", where=str(role.log),
                    next_step="read that log file",
                ) from error  # fmt: skip

    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity."""
        with self._lock:
            self.client.diff(upsert=[entity])  # tour: vm 3
            self._entities[entity.TYPE, entity.name] = entity

    def remove(self, entity: AnyEntity) -> None:
        """Remove one entity; harmless when it is not there."""
        with self._lock:
            if (entity.TYPE, entity.name) in self._entities:
                # The fabric manager may reject this: a VM that is the next hop of a route stays.
                self.client.diff(remove=[(entity.TYPE, entity.name)])
                del self._entities[entity.TYPE, entity.name]

    def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
        """Plan a change without making it (`FabricClient.plan`)."""
        return self.client.plan(upsert, remove)

    def change(
        self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity], plan: Plan | PlannedPlane | None = None
    ) -> int:
        """Change many entities at once, all or none; return the new version of the intent."""
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
        """Undo a change, even if the control plane does not answer: then its next full update has it."""
        with self._lock:
            self._record(upsert, remove)
            try:
                self.client.diff(upsert, remove)
            except HoverboardError as error:
                _log.warning("the %s did not take a rollback: %s", self.processes.first.name, error)

    def withdraw(self, entity: AnyEntity) -> None:
        """Remove one entity, even if the control plane does not answer: then its next full update has not got it."""
        with self._lock:
            self._entities.pop((entity.TYPE, entity.name), None)
            try:
                self.client.diff(remove=[(entity.TYPE, entity.name)])
            except HoverboardError as error:
                _log.warning("the control plane did not take the removal of %s %s: %s", entity.TYPE, entity.name, error)

    def set_model(self, model: Model, timeout: float) -> str:
        """Change to another programming model; return the one before, when the change is done.

        Raises:
            RunError: it is not done in `timeout` seconds; the error says what it waits for.
        """
        pids = {role.name: None if role.process is None else role.process.pid for role in self.processes.roles}
        former = self._topology.model
        with self._lock:
            try:
                before = str(self.client.set_model(model)["from"])
            except RunError:
                before = former
                if not self._ended_without_answer(pids):
                    raise

        def done() -> bool:
            return self._ended_by_change(pids) is not None or self._runs(model, complete=True)

        try:
            wait_for(
                done,
                timeout,
                lambda: f"the change to model {model} waits for {self.client.status().get('switching')}",
                where="model set",
            )
        finally:
            ended = self._ended_by_change(pids)
            if ended is None and self._runs(model, complete=False):
                # After a restart, the control plane runs the new model. Not before: a model that ends the control
                # plane during the change must not do so again at each restart.
                self._topology = replace(self._topology, model=model)
        if ended is not None:
            role, reason = ended
            self._back_to(before)
            raise RunError(
                f"the change to model {model} ended the {role.name}: {reason}",
                where=str(role.log),
                next_step=f"the run goes back to model {before}; correct the model, then repeat the command",
            )
        return before

    def _runs(self, model: Model, *, complete: bool) -> bool:
        """Whether the control plane runs a model; with `complete`, whether the change to it is done."""
        try:
            status = self.client.status()
        except RunError:
            return False  # it may restart just now
        return status.get("model") == model and not (complete and status.get("switching") is not None)

    def _ended_without_answer(self, pids: Mapping[str, int | None]) -> bool:
        """Whether the change has ended a process before its answer came; waits until that, or an answer, is there."""

        def known() -> bool:
            return self._ended_by_change(pids) is not None or self._answers()

        with contextlib.suppress(RunError):
            wait_for(known, _END_TIMEOUT, lambda: "the control plane neither answers nor ends")
        return self._ended_by_change(pids) is not None

    def _answers(self) -> bool:
        try:
            self.client.status(_END_TIMEOUT)
        except RunError:
            return False
        return True

    def _ended_by_change(self, pids: Mapping[str, int | None]) -> tuple[RoleProcess, str] | None:
        """A process that has ended since it had this pid, and with it the change of the model, and why; None: no one.

        A role that is killed and comes back follows the order again. One that ended by an exception would end again.
        """
        for role in self.processes.roles:
            pid = pids[role.name]
            process = role.running()
            reason = None if pid is None else self.processes.crashed(role, pid)
            if reason is not None:
                return role, reason
            if pid is None or (process is not None and process.pid == pid):
                continue
            if not self.processes.layout.processes:
                return role, self.processes.why_ended(role) or "it restarts"
        return None

    def _back_to(self, model: Model) -> None:
        """Order the former model: roles in processes of their own would begin the change again."""
        if self.processes.layout.processes:
            try:
                self.client.wait_ready(_START_TIMEOUT)
                self.client.set_model(model)
            except HoverboardError as error:
                _log.warning("the control plane does not go back to model %s: %s", model, error)

    def set_offload(self, topology: Topology) -> None:
        """Change the offload policy and its settings to those of a topology; a restart keeps them."""
        with self._lock:
            self.client.set_offload(offload_message(topology))
            self._topology = replace(
                self._topology, offload_threshold=topology.offload_threshold, offload=topology.offload
            )

    def program_state(self) -> ProgramState:
        """The progress of the control plane in programming the switches."""
        status = self.client.status()
        vms = status.get("vms", {})
        switches = status.get("switches", {})
        return ProgramState(
            frozenset(name for name, switch in switches.items() if switch.get("programmed")),
            int(vms.get("intended", 0)),
            int(vms.get("joined", 0)),
        )

    def status(self, timeout: float = STATUS_TIMEOUT) -> PlaneStatus:
        """The status of the control plane; RunError when it does not answer in `timeout` seconds."""
        return self.client.status(timeout)

    def offloads(self) -> list[Offload]:
        """VM pairs that are offloaded now."""
        return self.client.offloads()

    def close(self) -> None:
        """Close the connection; the processes end with the ledger of the run."""
        self.client.close()
