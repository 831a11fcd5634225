"""The fabric manager as a process: sends the intent to the VM controllers, and merges their status (paper 3.1).

It holds the embedded store, if that is used. It programs no switch. While it is down, no intent changes. With the
embedded store, no election ends either. Everything else continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc

from controllers.dry_run import concerned, consequences, plan_document
from controllers.fm.admission import Admission
from controllers.fm.dispatch import Dispatcher
from controllers.fm.fabric_server import FabricManagerServicer
from controllers.fm.grpc_errors import MAX_MESSAGE
from controllers.fm.index import EntityKey
from controllers.fm.intent_store import Changes, IntentStore
from controllers.roles.merged_status import joined, merge_status, policy_errors
from controllers.roles.offload_order import settings_message
from controllers.roles.replicas import Replica, ReplicasServicer, Roster
from controllers.single_process import Settings, settings_document, with_offload
from controllers.store.store_server import StoreServicer
from controllers.vmc.models import model_named
from hoverboard.contract.entities import VM, AnyEntity, Host
from hoverboard.contract.wire import fabric_pb2, fabric_pb2_grpc, store_pb2_grpc
from hoverboard.contract.wire.control_pb2_grpc import add_FabricServicer_to_server

if TYPE_CHECKING:
    from hoverboard.contract import documents
    from hoverboard.contract.change_documents import ModelBegun, Plan


class FabricManagerRole:
    """The fabric manager.

    Args:
        partitions: number of partitions.
        embedded: whether it holds the store for elections.
    """

    def __init__(self, settings: Settings, partitions: int, *, embedded: bool) -> None:
        self.settings = settings
        self._embedded = embedded
        self._fabric = IntentStore()
        self._admission = Admission(self._fabric)
        message = settings_message(settings.offload, settings.offload_policy)
        self._roster = Roster(partitions, settings.model, message)
        self._dispatcher = Dispatcher(lambda changes, _: self._roster.broadcast(changes), fair=settings.fair_queues)
        self._store: StoreServicer | None = None
        self._servicer = FabricManagerServicer(self)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serve."""
        path = self.settings.directory / "control.sock"
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        unlimited = [("grpc.max_send_message_length", MAX_MESSAGE), ("grpc.max_receive_message_length", MAX_MESSAGE)]
        self._server = server = grpc.aio.server(options=unlimited)
        fabric_pb2_grpc.add_FabricManagerServicer_to_server(self._servicer, server)  # type: ignore[no-untyped-call]
        add_FabricServicer_to_server(ReplicasServicer(self._roster), server)  # type: ignore[no-untyped-call]
        if self._embedded:
            self._store = StoreServicer(self.settings.directory / "store.json")
            store_pb2_grpc.add_StoreServicer_to_server(self._store, server)  # type: ignore[no-untyped-call]
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        os.chmod(path, 0o600)

    async def answered(self) -> None:
        """Wait until all requests have their answers."""
        await self._servicer.answers.all_sent()

    async def stop(self) -> None:
        """Stop serving."""
        self._roster.close()
        if self._store is not None:
            self._store.close()
        if self._server is not None:
            await self._server.stop(grace=0)

    # --- fm.fabric_server.ControlPlanePort -------------------------------------------------------------------

    async def full_update(
        self, entities: Sequence[AnyEntity], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a full update; return when the connected switches have confirmed it, or after a short timeout."""
        async with self._admission.exclusive():
            cut, changes = self._fabric.synced, self._fabric.full_update(entities, expected)
        return await self._changed(cut, changes)

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a diff; return when the connected switches have confirmed it, or after a short timeout."""
        # A diff before the first full update is rejected.
        return await self._changed(True, await self._admission.diff(upsert, remove, expected))

    async def _changed(self, cut: bool, changes: Changes) -> tuple[Changes, Sequence[str]]:
        # The first full update is not cut: a controller takes its first update for the whole intent.
        return changes, await self._dispatcher.submit(changes, cut)

    async def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None) -> Plan:
        """The changes that a diff would make, computed in a thread as if every VM were plugged in."""
        async with self._admission.exclusive():
            changes = self._fabric.trial(upsert, remove, expected)
            entities, version = concerned(changes, self._fabric.entities.values()), self._fabric.version
        model = model_named(self._roster.orders.model)
        switches = await asyncio.to_thread(consequences, model, entities, changes)
        return plan_document(changes, version, switches)

    async def entities(self, kind: str) -> dict[str, Any]:
        """The entities of a type, or of all types ("")."""
        async with self._admission.exclusive():
            return self._fabric.listed(kind)

    async def status(self) -> documents.PlaneStatus:
        """The status document."""
        answers: dict[Replica, documents.ReplicaStatus] = await self._roster.ask("status")
        masters = self._roster.masters()
        known = [answers[one] for one in masters.values() if one in answers]
        servers = [name for kind, name in self._fabric.entities if kind in ("Host", "Hoverboard")]
        together, waiting = merge_status(servers, known), self._roster.orders.waiting
        if waiting is not None:
            stage = self._roster.orders.order.stage
            together["switching"] = f"{stage}: partitions {', '.join(map(str, waiting))}"
        return {
            "model": self._roster.orders.model,
            **together,
            "version": self._fabric.version,
            "synced": self._fabric.synced,
            "vms": {"intended": self._intended(), "joined": joined(known)},
            **settings_document(self.settings, *policy_errors(known)),
            "queues": {"fair": self._dispatcher.fair, "waiting": self._dispatcher.waiting()},
            "partitions": self._roster.partitions,
            "store": "embedded" if self._embedded else "etcd",
            "controllers": [
                _row(one, masters.get(one.partition) is one, answers.get(one))
                for one in sorted(self._roster.members, key=lambda one: (one.partition, one.replica, one.pid))
            ],
        }

    def _intended(self) -> int:
        """The number of VMs that should be plugged in at switches that are ours to program."""
        entities = self._fabric.entities
        count = sum(kind == "VM" for kind, _ in entities)
        external = {one.name for one in entities.values() if isinstance(one, Host) and one.program == "external"}
        if external:
            count -= sum(isinstance(one, VM) and one.host in external for one in entities.values())
        return count

    async def set_model(self, name: str) -> ModelBegun:
        """Change to another programming model; status()["switching"] is None when the change is complete."""
        before = self._roster.orders.begin(name)
        return {"from": before, "model": self._roster.orders.model, "switching": self._roster.orders.order.stage}

    async def set_offload(self, order: fabric_pb2.OffloadSettings) -> documents.OffloadPolicyStatus:
        """Change the offload policy and its settings; the VM controllers follow, standbys too."""
        # The policy is made here as well: so a file that is no good is rejected before a controller reads it.
        self.settings, _ = with_offload(self.settings, order)
        self._roster.order_offload(order)
        return settings_document(self.settings, 0, None)["offload_policy"]

    async def offloads(self) -> list[documents.Offload]:
        """The active offloads."""
        answers = await self._roster.ask("offloads")
        return [offload for master in self._roster.masters().values() for offload in answers.get(master, ())]


def _row(one: Replica, master: bool, answer: documents.ReplicaStatus | None) -> documents.Controller:
    """A VM controller in the status document."""
    return {
        "partition": one.partition, "replica": one.replica, "pid": one.pid, "master": master, "term": one.term,
        "version": one.version, "state": "up" if answer else "silent",
        "front_ends": answer["front_ends"] if answer else None,
        "switches": len(answer["switches"]) if answer else None,
    }  # fmt: skip
