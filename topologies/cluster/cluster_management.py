"""Cluster management as a run sees it (paper section 3.1): the port in front of one control plane or several.

Adapters: `cluster.ClusterManager` (one control plane) and `regions.RegionalClusterManager` (those of all regions).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controllers.fm.fabric_client import FabricClient
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import RunError
from topologies.cluster.control_processes import ControlProcesses
from topologies.processes.deadlines import wait_for
from topologies.processes.supervisor import Supervisor
from topologies.spec.topology import Model, ServerSpec

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Plan, PlannedPlane
    from hoverboard.contract.documents import Offload, PlaneStatus

Entities = dict[tuple[str, str], AnyEntity]  # by type and name


@dataclass(frozen=True, slots=True)
class ProgramState:
    """Servers whose switch has its whole program; VMs there should be; VMs whose vport is known too."""

    programmed: frozenset[str]
    intended: int
    joined: int


class ClusterManagement(ABC):
    """Tells control planes what there should be, and keeps them alive.

    Attributes:
        processes: of the control plane; where there are several, of the first.
        address: gRPC address of its fabric manager.
        client: of that.
    """

    processes: ControlProcesses
    address: str
    client: FabricClient

    @property
    def pid(self) -> int | None:
        """Pid of the process that holds the intent: the control plane's, or the fabric manager's."""
        process = self.processes.first.process
        return process.pid if process is not None else None

    @property
    @abstractmethod
    def restarts(self) -> int:
        """How often a process of a control plane has been started again."""

    @property
    @abstractmethod
    def entities(self) -> Entities:
        """Everything that was told there should be; not waiting for a request that is under way."""

    @abstractmethod
    def endpoints(self, server: ServerSpec) -> list[tuple[str, Path]]:
        """Where a server's host agent and switch find the control plane, or each of the control planes."""

    # --- life -----------------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Start; `wait_ready` says when they serve."""

    @abstractmethod
    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until they serve; RunError with the log's place otherwise."""

    @abstractmethod
    def full_update(self) -> None:
        """Send everything there should be."""

    @abstractmethod
    def supervise(self, supervisor: Supervisor) -> None:
        """From now on, what dies is started again, and told everything there should be."""

    @abstractmethod
    def close(self) -> None:
        """Close the lines to them; the processes are the ledger's to end."""

    # --- changes --------------------------------------------------------------------------------------

    @abstractmethod
    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity."""

    @abstractmethod
    def remove(self, entity: AnyEntity) -> None:
        """Remove one entity; harmless when it is not there."""

    @abstractmethod
    def withdraw(self, entity: AnyEntity) -> None:
        """Take back one entity, whatever a control plane says: one that is away is told by the next full update."""

    @abstractmethod
    def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
        """What `change` would do; nothing is changed (`FabricClient.plan`)."""

    @abstractmethod
    def change(
        self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity], plan: Plan | PlannedPlane | None = None
    ) -> int:
        """Many at once, all of them or none; the version that this makes.

        Args:
            plan: what was planned: refused if somebody else has changed something since.

        Raises:
            EntityError: one is refused.
            RunError: the plan is not for the version that there is, or a control plane is away.
        """

    @abstractmethod
    def set_model(self, model: Model, timeout: float) -> str:
        """Go over to another programming model; returns the one before, once that is done."""

    # --- what there is --------------------------------------------------------------------------------

    @abstractmethod
    def program_state(self) -> ProgramState:
        """What has been brought to the switches so far."""

    @abstractmethod
    def status(self) -> PlaneStatus:
        """The control planes' own status."""

    @abstractmethod
    def offloads(self) -> list[Offload]:
        """VM pairs that go host to host now."""

    def wait_joined(self, vms: int, server: str, timeout: float) -> bool:
        """Wait until so many VMs have joined and `server` is programmed; False after `timeout` seconds."""

        def joined() -> bool:
            state = self.program_state()
            return state.joined >= vms and server in state.programmed

        try:
            wait_for(joined, timeout, lambda: f"{vms} VMs have not joined")
        except RunError:
            return False
        return True
