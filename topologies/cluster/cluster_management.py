"""The port of cluster management (paper section 3.1): a run uses it for one control plane and for several.

Its adapters are `manager.ClusterManager` (one control plane) and `regional.RegionalClusterManager` (two per region).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controllers.fm.fabric_client import FabricClient
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import RunError, counted
from topologies.cluster.control_processes import ControlProcesses
from topologies.processes.deadlines import wait_for
from topologies.processes.supervisor import Supervisor
from topologies.spec.topology import Model, ServerSpec, Topology

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Plan, PlannedPlane
    from hoverboard.contract.documents import Offload, PlaneStatus

Entities = dict[tuple[str, str], AnyEntity]  # by type and name
STATUS_TIMEOUT = 60.0  # seconds; a control plane under load may need some


@dataclass(frozen=True, slots=True)
class ProgramState:
    """The progress of a control plane in programming switches.

    Attributes:
        programmed: nodes whose switch has its whole program.
        intended: number of VMs in the intent.
        joined: number of VMs whose vport the control plane knows.
    """

    programmed: frozenset[str]
    intended: int
    joined: int


class ClusterManagement(ABC):
    """Sends the intent to the control planes, and restarts their processes.

    Attributes:
        processes: of the control plane; with several, of the first.
        address: gRPC address of its fabric manager.
        client: of this fabric manager.
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
        """Number of restarts of all processes of the control planes."""

    @property
    @abstractmethod
    def entities(self) -> Entities:
        """The intent as it was sent; a request that is under way is not waited for."""

    @abstractmethod
    def firewall_rules(self, timeout: float) -> list[tuple[str, str]]:
        """(network, name) of each firewall rule: those that the control planes have, and those that were sent.

        Other programs may have sent rules to a fabric manager. One that does not answer in `timeout` seconds is left
        out.
        """

    @abstractmethod
    def endpoints(self, server: ServerSpec) -> list[tuple[str, Path]]:
        """gRPC address and OpenFlow socket of each control plane that programs a node."""

    # --- processes ------------------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> None:
        """Start the processes; `wait_ready` waits until they serve."""

    @abstractmethod
    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until the control planes serve.

        Raises:
            RunError: one does not serve in time; the error names its log.
        """

    @abstractmethod
    def full_update(self) -> None:
        """Send the whole intent."""

    @abstractmethod
    def supervise(self, supervisor: Supervisor) -> None:
        """Restart from now on what dies, and send it the whole intent."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections; the processes end with the ledger of the run."""

    # --- changes --------------------------------------------------------------------------------------

    @abstractmethod
    def upsert(self, entity: AnyEntity) -> None:
        """Add or change one entity."""

    @abstractmethod
    def remove(self, entity: AnyEntity) -> None:
        """Remove one entity; harmless when it is not there."""

    @abstractmethod
    def withdraw(self, entity: AnyEntity) -> None:
        """Remove one entity, even if a control plane rejects that or does not answer.

        A control plane that does not answer gets the next full update without the entity.
        """

    @abstractmethod
    def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
        """Plan a change without making it (`FabricClient.plan`)."""

    @abstractmethod
    def change(
        self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity], plan: Plan | PlannedPlane | None = None
    ) -> int:
        """Change many entities at once, all or none.

        Args:
            upsert: entities to add or change.
            remove: entities to remove.
            plan: the plan of this change; the change is rejected if the intent has changed since then.

        Returns:
            The new version of the intent.

        Raises:
            EntityError: an entity is rejected.
            RunError: the intent has another version than the plan, or a control plane does not answer.
        """

    @abstractmethod
    def set_model(self, model: Model, timeout: float) -> str:
        """Change to another programming model; return the one before, when the change is done.

        Args:
            model: the new model.
            timeout: seconds.
        """

    @abstractmethod
    def set_offload(self, topology: Topology) -> None:
        """Change the offload policy and its settings to those of a topology; offloads stay.

        Raises:
            InputError: the policy cannot be used.
            RunError: a control plane does not answer.
        """

    # --- state ----------------------------------------------------------------------------------------

    @abstractmethod
    def program_state(self) -> ProgramState:
        """The progress in programming the switches."""

    @abstractmethod
    def status(self, timeout: float = STATUS_TIMEOUT) -> PlaneStatus:
        """The status of the control planes.

        Args:
            timeout: seconds.

        Raises:
            RunError: no plane answers in that time.
        """

    @abstractmethod
    def offloads(self) -> list[Offload]:
        """VM pairs that are offloaded now."""

    def wait_joined(self, vms: int, server: str, timeout: float) -> bool:
        """Wait until `vms` VMs have joined and node `server` is programmed; False after `timeout` seconds."""

        def joined() -> bool:
            state = self.program_state()
            return state.joined >= vms and server in state.programmed

        try:
            wait_for(joined, timeout, lambda: f"{counted(vms, 'VM')} to join")
        except RunError:
            return False
        return True
