"""Cluster management of two regions: each has a regional and a global control plane (RACP, GACP; paper section 3.5).

A change goes to the regional plane first, which must accept it. A background thread per global plane sends it each VM
change. So a global plane that hangs, does not answer, or rejects a change does not delay its region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from controllers.vmc.models import model_named
from hoverboard.contract.entities import VM, AnyEntity
from hoverboard.contract.errors import HoverboardError, InputError, RunError
from hoverboard.contract.models import choices
from topologies.cluster import plane_change
from topologies.cluster.cluster_management import ClusterManagement, Entities, ProgramState
from topologies.cluster.control_processes import ControlLayout
from topologies.cluster.global_plane import GlobalPlane
from topologies.cluster.manager import ClusterManager
from topologies.cluster.region_checks import check_regions
from topologies.processes.deadlines import wait_for
from topologies.processes.launcher import Launcher
from topologies.processes.supervisor import Supervisor
from topologies.spec.region_scopes import PlaneScope, region_by_node
from topologies.spec.topology import Model, ServerSpec, Topology, to_entities

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import Plan, PlannedPlane


_ANSWER_TIMEOUT = 2.0  # seconds, for requests that read only
_PROGRAM_TIMEOUT = 60.0


def merge_policy(whole: documents.PlaneStatus, policy: documents.OffloadPolicyStatus) -> None:
    """Add the errors of a plane's offload policy to those of all planes, which have the same policy."""
    known = whole.setdefault("offload_policy", {**policy, "errors": 0, "last_error": None})
    known["errors"] += policy["errors"]
    known["last_error"] = policy["last_error"] or known["last_error"]


def cluster_manager(
    topology: Topology, layout: ControlLayout, directory: Path, logs: Path, launcher: Launcher
) -> ClusterManagement:
    """The cluster management for a topology: of one control plane, or with a WAN of two for each region."""
    if topology.wan is None:
        return ClusterManager(topology, layout, directory, logs, launcher)
    return RegionalClusterManager(topology, layout, directory, logs, launcher)


class RegionalClusterManager(ClusterManagement):
    """Cluster management of the control planes of all regions.

    Attributes:
        regional, globals: the planes by region.

    Raises:
        InputError: layout, model or policies of the topology do not work with regions.
    """

    def __init__(
        self, topology: Topology, layout: ControlLayout, directory: Path, logs: Path, launcher: Launcher
    ) -> None:
        check_regions(topology, layout)
        self._regions = region_by_node(to_entities(topology))
        self.regional: dict[str, ClusterManager] = {}
        self.globals: dict[str, GlobalPlane] = {}
        for number, region in enumerate(topology.regions):
            within, across = PlaneScope("regional", region), PlaneScope("global", region)
            self.regional[region] = ClusterManager(topology, layout, directory / f"r{number}", logs, launcher, within)
            self.globals[region] = GlobalPlane(topology, layout, directory / f"g{number}", logs, launcher, across)
        first = self.regional[topology.regions[0]]
        self.processes, self.address, self.client = first.processes, first.address, first.client
        self._topology = topology

    @property
    def _planes(self) -> list[ClusterManager]:
        return [*self.regional.values(), *self.globals.values()]

    def endpoints(self, server: ServerSpec) -> list[tuple[str, Path]]:
        """gRPC address and OpenFlow socket of a node's regional plane, then of its global plane."""
        region = server.region or ""
        return [*self.regional[region].endpoints(server), *self.globals[region].endpoints(server)]

    @property
    def restarts(self) -> int:
        """Number of restarts of all control planes."""
        return sum(plane.restarts for plane in self._planes)

    def start(self) -> None:
        """Start all planes."""
        for plane in self._planes:
            plane.start()

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until all planes serve."""
        for plane in self._planes:
            plane.wait_ready(timeout)

    def full_update(self) -> None:
        """Send each plane its part of the intent; return when the global planes have programmed their nodes."""
        for plane in self._planes:
            plane.full_update()

        def behind() -> list[str]:
            return [
                server.name
                for region, plane in self.globals.items()
                for server in self._topology.servers
                if server.region == region and server.name not in plane.program_state().programmed
            ]

        wait_for(
            lambda: not behind(), _PROGRAM_TIMEOUT, lambda: f"global planes have not programmed: {', '.join(behind())}"
        )

    def supervise(self, supervisor: Supervisor) -> None:
        """Restart from now on what dies of all planes."""
        for plane in self._planes:
            plane.supervise(supervisor)

    def _regional_plane(self, entity: AnyEntity) -> ClusterManager:
        region = self._regions.get(f"Host {entity.host}") if isinstance(entity, VM) else None
        if region is None:
            raise InputError(
                f"a {entity.TYPE} is in no region", where=entity.name,
                next_step="with regions only VMs can change; take the run down and bring the changed topology up",
            )  # fmt: skip
        return self.regional[region]

    def upsert(self, entity: AnyEntity) -> None:
        """Add or change a VM: its regional plane has it when this returns, the global planes soon after."""
        self._regional_plane(entity).upsert(entity)
        self._notify_globals(entity, gone=False)

    def remove(self, entity: AnyEntity) -> None:
        """Remove a VM: from its regional plane when this returns, from the global planes soon after."""
        self._regional_plane(entity).remove(entity)
        self._notify_globals(entity, gone=True)

    def withdraw(self, entity: AnyEntity) -> None:
        """Remove a VM, even if a control plane does not answer."""
        self._regional_plane(entity).withdraw(entity)
        self._notify_globals(entity, gone=True)

    def _notify_globals(self, entity: AnyEntity, *, gone: bool) -> None:
        for plane in self.globals.values():
            plane.notify(entity, gone=gone)

    @property
    def entities(self) -> Entities:
        """The intent of all regions."""
        whole: Entities = {}
        for plane in self.regional.values():
            whole |= plane.entities
        return whole

    def firewall_rules(self, timeout: float) -> list[tuple[str, str]]:
        """(network, name) of each firewall rule of all regions (see `ClusterManagement`)."""
        return sorted({rule for plane in self.regional.values() for rule in plane.firewall_rules(timeout)})

    def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
        """Plan a change with all planes that have a part of it (`topologies.cluster.plane_change.plan`)."""
        before = self.entities
        parts = plane_change.split_change(self._planes, before, upsert, remove)
        return plane_change.plan(parts, before, upsert, remove)

    def change(
        self, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity], plan: Plan | PlannedPlane | None = None
    ) -> int:
        """Change many entities at once, in all planes (`topologies.cluster.plane_change.apply`)."""
        planned = self.plan(upsert, remove) if plan is None else cast("Plan", plan)
        parts = plane_change.split_change(self._planes, self.entities, upsert, remove)
        return plane_change.apply(parts, planned)

    def set_model(self, model: Model, timeout: float) -> str:
        """Change to another programming model; return the one before.

        The order keeps packets flowing. To a model without relays, the global planes change first: hosts need their
        routes to other regions before they lose the default route to a Hoverboard. To a model with relays, the
        regional planes change first: Hoverboards need their region's VMs before hosts send them packets.

        Raises:
            InputError: the model does not work with regions.
            RunError: a plane does not answer: nothing was changed, or a part was. Call it again to complete the change.
        """
        facts = model_named(model).facts()
        if not facts.scoped:
            raise InputError(
                f"model {model} does not work with `wan`", where="model set",
                next_step=f"use one of: {choices(scoped=True)}",
            )  # fmt: skip
        self._check_answering("model set")
        before = self._topology.model
        kinds: list[list[ClusterManager]] = [list(self.regional.values()), list(self.globals.values())]
        for planes in kinds if facts.relays else reversed(kinds):
            with ThreadPoolExecutor(len(planes), thread_name_prefix="models") as pool:
                list(pool.map(lambda plane: plane.set_model(model, timeout), planes))
        self._topology = replace(self._topology, model=model)
        return before

    def _check_answering(self, where: str) -> None:
        """Raise RunError unless all planes answer."""
        for scope, _, answer in self._query(lambda plane: plane.client.status(_ANSWER_TIMEOUT)):
            if isinstance(answer, HoverboardError):
                what = f"the {scope.process} does not answer: {answer}"
                raise RunError(what, where=where, next_step="see `hoverboard status`; retry when the plane is up")

    def set_offload(self, topology: Topology) -> None:
        """Change the offload policy of all planes.

        Raises:
            InputError: the policy cannot be used.
            RunError: a plane does not answer: nothing was changed, or a part was. Call it again to complete the change.
        """
        self._check_answering("offload set")
        for plane in self._planes:
            plane.set_offload(topology)
        self._topology = replace(self._topology, offload_threshold=topology.offload_threshold, offload=topology.offload)

    def program_state(self) -> ProgramState:
        """The progress of the regional planes in programming the switches; global planes are left out."""
        states = [plane.program_state() for plane in self.regional.values()]
        return ProgramState(
            frozenset().union(*(state.programmed for state in states)),
            sum(state.intended for state in states),
            sum(state.joined for state in states),
        )

    def _query(self, ask: Callable[[ClusterManager], Any]) -> list[tuple[PlaneScope, ClusterManager, Any]]:
        """(scope, plane, answer) of all planes, asked in parallel; the answer is a HoverboardError when it failed."""

        def one(plane: ClusterManager) -> Any:
            try:
                return ask(plane)
            except HoverboardError as error:
                return error

        with ThreadPoolExecutor(len(self._planes), thread_name_prefix="planes") as pool:
            answers = list(pool.map(one, self._planes))
        return [(plane.scope, plane, answer) for plane, answer in zip(self._planes, answers, strict=True)]

    def status(self, timeout: float = _ANSWER_TIMEOUT) -> documents.PlaneStatus:
        """The sum of the regional planes' status, and in "planes" a row for each plane.

        A plane that does not answer in `timeout` seconds is "unreachable".
        """
        whole: documents.PlaneStatus = {"model": self._topology.model, "switching": None, "offloads": 0, "switches": {}}
        vms: documents.VMCount = {"intended": 0, "joined": 0}
        planes = []
        for scope, plane, answer in self._query(lambda one: one.client.status(timeout)):
            row: documents.Plane = {
                "region": scope.region, "scope": scope.kind, "state": "up", "pid": plane.pid,
                "restarts": plane.restarts, "refused": plane.refused,
            }  # fmt: skip
            planes.append(row)
            if isinstance(answer, HoverboardError):
                row |= {"state": "unreachable", "error": str(answer)}
                continue
            flows = sum(switch["flows"] for switch in answer["switches"].values())
            row |= {"version": answer["version"], "vms": answer["vms"]["intended"], "flows": flows}
            row |= {"offloads": answer["offloads"], "counters": answer["counters"]}
            whole["offloads"] += answer["offloads"]
            merge_policy(whole, answer["offload_policy"])
            whole["switching"] = whole["switching"] or answer["switching"]
            if scope.kind == "regional":
                joined = vms["joined"] + answer["vms"]["joined"]
                vms = {"intended": vms["intended"] + answer["vms"]["intended"], "joined": joined}
                whole["switches"] |= answer["switches"]
        return {**whole, "vms": vms, "planes": planes}

    def offloads(self) -> list[documents.Offload]:
        """VM pairs that are offloaded now, from all planes that answer."""
        answers = self._query(lambda one: one.client.offloads(_ANSWER_TIMEOUT))
        return [pair for _, _, answer in answers if not isinstance(answer, HoverboardError) for pair in answer]

    def close(self) -> None:
        """Close the connections to all planes; the processes end with the ledger of the run."""
        for plane in self._planes:
            plane.close()
