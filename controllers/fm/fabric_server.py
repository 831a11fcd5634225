"""The fabric manager's door: gRPC in, entities out (paper section 3.1).

Thin: decodes, hands on to the plane, maps refusals to status codes. Decides nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from controllers.fm.codec import decode_entity
from controllers.fm.grpc_errors import status_of
from controllers.fm.index import EntityKey
from controllers.fm.intent_store import Changes
from controllers.gc_pause import gc_paused
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import EntityError, HoverboardError
from hoverboard.contract.wire import fabric_pb2 as pb

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import Plan
    from hoverboard.contract.documents import Offload, PlaneStatus


MAX_ENTITIES = 1_000_000  # in one request
_LARGE = 1_000  # entities of a request that the collector of garbage is not to look at
_AT_A_TIME = 100  # entities decoded before the event loop may do something else


class ControlPlanePort(Protocol):
    """What the door needs from the plane behind it."""

    async def full_update(
        self, entities: Sequence[AnyEntity], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a full update; what changed, and on which switches."""
        ...

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a diff; what changed, and on which switches."""
        ...

    async def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None) -> Plan:
        """What a diff would do; nothing is changed."""
        ...

    async def entities(self, kind: str) -> dict[str, Any]:
        """All entities of a type, or of all ("")."""
        ...

    async def status(self) -> PlaneStatus:
        """The status document."""
        ...

    async def offloads(self) -> list[Offload]:
        """The offloads that stand."""
        ...

    async def set_model(self, name: str) -> dict[str, Any]:
        """Go over to another programming model; {"model", "from", "switching"}."""
        ...


class FabricManagerServicer:
    """The FabricManager service of fabric.proto."""

    def __init__(self, plane: ControlPlanePort) -> None:
        self._plane = plane

    async def FullUpdate(self, request: pb.FullUpdateRequest, context: Any) -> pb.UpdateReply:
        """The whole configuration."""
        try:
            with _gc_paused_for(len(request.entities)):
                entities = await decode_entities(request.entities)
                return _reply(*await self._plane.full_update(entities, _expected(request)))
        except HoverboardError as refused:
            await _abort(context, refused)

    async def Diff(self, request: pb.DiffRequest, context: Any) -> pb.UpdateReply:
        """A change."""
        try:
            with _gc_paused_for(len(request.upsert) + len(request.remove)):
                upsert, remove = await decode_entities(request.upsert), await _references(request)
                return _reply(*await self._plane.diff(upsert, remove, _expected(request)))
        except HoverboardError as refused:
            await _abort(context, refused)

    async def Plan(self, request: pb.DiffRequest, context: Any) -> pb.Json:
        """What a diff would do."""
        try:
            upsert, remove = await decode_entities(request.upsert), await _references(request)
            return pb.Json(json=json.dumps(await self._plane.plan(upsert, remove, _expected(request))))
        except HoverboardError as refused:
            await _abort(context, refused)

    async def List(self, request: pb.EntityRef, context: Any) -> pb.Json:
        """The entities."""
        try:
            return pb.Json(json=json.dumps(await self._plane.entities(request.type)))
        except HoverboardError as refused:
            await _abort(context, refused)

    async def Status(self, request: pb.Empty, context: Any) -> pb.Json:
        """The status document."""
        return pb.Json(json=json.dumps(await self._plane.status()))

    async def Offloads(self, request: pb.Empty, context: Any) -> pb.Json:
        """The offloads that stand."""
        return pb.Json(json=json.dumps(await self._plane.offloads()))

    async def SetModel(self, request: pb.SetModelRequest, context: Any) -> pb.Json:
        """Another programming model."""
        try:
            return pb.Json(json=json.dumps(await self._plane.set_model(request.model)))
        except HoverboardError as refused:
            await _abort(context, refused)


def _gc_paused_for(entities: int) -> AbstractContextManager[None]:
    return gc_paused() if entities > _LARGE else nullcontext()


async def _references(request: pb.DiffRequest) -> list[EntityKey]:
    found: list[EntityKey] = []
    for at in range(0, len(request.remove), _AT_A_TIME):
        found += [(reference.type, reference.name) for reference in request.remove[at : at + _AT_A_TIME]]
        await asyncio.sleep(0)
    return found


def _expected(request: pb.FullUpdateRequest | pb.DiffRequest) -> int | None:
    return request.expected_version if request.HasField("expected_version") else None


async def decode_entities(messages: Sequence[pb.Entity]) -> list[AnyEntity]:
    """The entities in messages; a long list does not keep the event loop from its other work.

    Raises:
        EntityError: one of them is wrong, or there are too many.
    """
    if len(messages) > MAX_ENTITIES:
        raise EntityError(
            f"{len(messages)} entities in one request; the most is {MAX_ENTITIES}",
            where="fabric manager",
            next_step="send the full update with fewer, and the rest as diffs",
        )
    entities = []
    for at in range(0, len(messages), _AT_A_TIME):
        entities += [decode_entity(message) for message in messages[at : at + _AT_A_TIME]]
        await asyncio.sleep(0)
    return entities


async def _abort(context: Any, refused: HoverboardError) -> NoReturn:
    await context.abort(*status_of(refused))
    raise AssertionError("context.abort returned")


def _reply(changes: Changes, switches: Sequence[str]) -> pb.UpdateReply:
    return pb.UpdateReply(
        version=changes.version,
        added=len(changes.added),
        changed=len(changes.changed),
        removed=len(changes.removed),
        switches=sorted(switches),
    )
