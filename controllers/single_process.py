"""All roles of the control plane in one process: fabric manager, VM controller, front end (paper section 3).

One event loop, no additional threads; the roles call each other directly. `controllers.roles` runs the same parts as
separate processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import grpc

from controllers.dry_run import concerned, consequences, plan_document
from controllers.fm.admission import Admission
from controllers.fm.dispatch import Dispatcher
from controllers.fm.fabric_server import FabricManagerServicer
from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.fm.index import EntityKey
from controllers.fm.intent_store import Changes, IntentStore
from controllers.ofe.switch_server import FrontEnd
from controllers.vmc.agents import HostsServicer
from controllers.vmc.controller import Controller
from controllers.vmc.core import ControllerCore
from controllers.vmc.inter_region import InterRegionShare
from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings
from controllers.vmc.offload.policy_file import changed, load_policy
from hoverboard.contract.entities import AnyEntity, Host, Hoverboard
from hoverboard.contract.errors import EntityError, InputError
from hoverboard.contract.openflow.shares import GLOBAL, REGIONAL, WHOLE
from hoverboard.contract.wire import fabric_pb2 as pb
from hoverboard.contract.wire import fabric_pb2_grpc

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelBegun, Plan
    from hoverboard.contract.documents import Offload, OffloadPolicyStatus, PlaneStatus


Scope = Literal["whole", "regional", "global"]
_SHARES = {"whole": WHOLE, "regional": REGIONAL, "global": GLOBAL}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a control plane.

    Attributes:
        directory: where control.sock (gRPC) and of.sock (OpenFlow) are made.
        offload: settings of the offload policy.
        offload_policy: "path.py:Class" of a user's policy.
        report_interval: seconds between usage reports.
        fair_queues: one queue of changes for each network; False: one for all networks, for comparison.
        scope: "whole": everything; "regional": traffic within a region; "global": traffic that crosses its border.
        region: the region whose switches a regional or global plane programs.
    """

    directory: Path
    model: str = "hoverboard"
    offload: OffloadSettings = OffloadSettings()
    offload_policy: str | None = None
    report_interval: float = 1.0
    fair_queues: bool = True
    scope: Scope = "whole"
    region: str | None = None


def settings_document(settings: Settings, errors: int, last_error: str | None) -> PlaneStatus:
    """The settings, as part of the status document.

    Args:
        settings: the present settings.
        errors: number of errors of the offload policy.
        last_error: the last one; None: there was none.
    """
    offload = settings.offload
    return {
        "offload_policy": {
            "policy": settings.offload_policy, "threshold_bps": offload.threshold_bps, "keep_bps": offload.keep_bps,
            "min_lifetime_s": offload.minimum_lifetime, "idle_expiry_s": offload.idle_expiry,
            "budget": offload.budget, "reports": offload.reports, "errors": errors, "last_error": last_error,
        },
        "offload_threshold_bps": settings.offload.threshold_bps,
        "offload_idle_expiry_s": settings.offload.idle_expiry,
        "report_interval_s": settings.report_interval,
    }  # fmt: skip


def with_offload(settings: Settings, order: pb.OffloadSettings) -> tuple[Settings, OffloadPolicy]:
    """The settings with those of an order, and the policy made with them.

    Raises:
        InputError: a value is wrong, or the policy cannot be made.
    """
    offload, reference = changed(settings.offload, order), order.policy or None
    return replace(settings, offload=offload, offload_policy=reference), load_policy(reference, offload)


class ControlPlane:
    """The running control plane; serves cluster management, host agents and switches.

    Attributes:
        controller: its VM controller.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._fabric = IntentStore()
        self._admission = Admission(self._fabric)
        policy = load_policy(settings.offload_policy, settings.offload)
        self._core = self._new_core(model_named(settings.model), policy)
        self.controller = Controller(self._core)
        self._dispatcher = Dispatcher(
            lambda changes, complete: self.controller.changed(changes, complete=complete), fair=settings.fair_queues
        )
        self._front_end = FrontEnd(settings.directory / "of.sock", self.controller, _SHARES[settings.scope])
        self._servicer = FabricManagerServicer(self)
        self._server: grpc.aio.Server | None = None

    def _new_core(self, model: ProgrammingModel, policy: OffloadPolicy) -> ControllerCore:
        if self.settings.scope == "global":
            assert self.settings.region is not None
            return ControllerCore(model, policy, share=InterRegionShare(self.settings.region))
        return ControllerCore(model, policy)

    async def start(self) -> None:
        """Serve OpenFlow, then gRPC: when Status answers, everything is ready."""
        await self._front_end.start()
        path = self.settings.directory / "control.sock"
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        unlimited = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._server = server = grpc.aio.server(options=unlimited)
        fabric_pb2_grpc.add_FabricManagerServicer_to_server(self._servicer, server)  # type: ignore[no-untyped-call]
        fabric_pb2_grpc.add_HostsServicer_to_server(  # type: ignore[no-untyped-call]
            HostsServicer(
                self.controller,
                self.settings.report_interval,
                report_relayed=self.settings.offload.reports == "hoverboards",
            ),
            server,
        )
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        os.chmod(path, 0o600)

    async def answered(self) -> None:
        """Wait until all requests have their answers."""
        await self._servicer.answers.all_sent()

    async def stop(self) -> None:
        """Stop serving; switches and hosts keep their state."""
        if self._server is not None:
            await self._server.stop(grace=None)
        await self._front_end.stop()
        self.controller.stop()

    # --- fm.fabric_server.ControlPlanePort -----------------------------------------------------------------

    async def full_update(
        self, entities: Sequence[AnyEntity], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a full update; return when the connected switches have confirmed it, or after a short timeout."""
        self._check_region(entities)
        async with self._admission.exclusive():
            self.controller.flush()
            changes = self._fabric.full_update(entities, expected)
        return await self._changed(changes)

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a diff; return when the connected switches have confirmed it, or after a short timeout."""
        self._check_region(upsert)
        self.controller.flush()
        return await self._changed(await self._admission.diff(upsert, remove, expected))

    def _check_region(self, entities: Sequence[AnyEntity]) -> None:
        """Reject nodes of other regions: a regional plane knows only its own, so other regions cannot disturb it."""
        for entity in entities if self.settings.scope == "regional" else ():
            if isinstance(entity, Host | Hoverboard) and entity.region != self.settings.region:
                raise EntityError(
                    f"is in region {entity.region}, but this is the regional control plane of {self.settings.region}",
                    where=f"{entity.TYPE}/{entity.name}.region",
                    next_step="send it to the global control planes",
                )

    async def _changed(self, changes: Changes) -> tuple[Changes, Sequence[str]]:
        return changes, await self._dispatcher.submit(changes, self._fabric.synced)

    async def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None) -> Plan:
        """The changes that a diff would make, computed in a thread; nothing is changed."""
        self._check_region(upsert)
        async with self._admission.exclusive():
            changes = self._fabric.trial(upsert, remove, expected)
            entities, version = concerned(changes, self._fabric.entities.values()), self._fabric.version
        plugged = frozenset(self._core.view.ports)
        switches = await asyncio.to_thread(consequences, self._core.model, entities, changes, plugged, self._new_core)
        return plan_document(changes, version, switches)

    async def entities(self, kind: str) -> dict[str, Any]:
        """The entities of a type, or of all types ("")."""
        async with self._admission.exclusive():
            return self._fabric.listed(kind)

    async def status(self) -> PlaneStatus:
        """The status document."""
        core, errors = self._core, self._core.policy.errors
        return {
            **self.controller.model_document(),
            "scope": self.settings.scope,
            "region": self.settings.region,
            "version": self._fabric.version,
            "synced": self._fabric.synced,
            "switches": self.controller.switches(),
            "vms": {"intended": core.view.intended(), "joined": len(core.view.ports)},
            "offloads": len(core.policy.active),
            **settings_document(self.settings, errors.count, errors.last),
            "queues": {"fair": self._dispatcher.fair, "waiting": self._dispatcher.waiting()},
            "counters": dict(core.counters),
        }

    async def set_model(self, name: str) -> ModelBegun:
        """Change to another programming model; status()["switching"] is None when the change is complete."""
        model = model_named(name, where="SetModel")
        if self.settings.scope != "whole" and (model.answers or model.learns):
            raise InputError(
                f"model {name} does not go with regions: two control planes would answer a host's lookup",
                where="SetModel",
                next_step="use a model whose hosts neither send lookups nor learn routes",
            )  # fmt: skip
        return self.controller.set_model(name)

    async def set_offload(self, order: pb.OffloadSettings) -> OffloadPolicyStatus:
        """Change the offload policy and its settings; return the document of the new one."""
        settings, policy = with_offload(self.settings, order)
        self.controller.set_policy(policy)
        self.settings = settings
        return settings_document(settings, 0, None)["offload_policy"]

    async def offloads(self) -> list[Offload]:
        """The active offloads; `since` in seconds of the Unix epoch."""
        return self.controller.offloads()
