"""The gRPC service of the fabric manager (paper section 3.1).

Thin: it decodes requests, passes them to the control plane, and turns errors into status codes. Decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from controllers.crash import answer_to
from controllers.fm.codec import decode_entity
from controllers.fm.grpc_errors import status_of
from controllers.fm.index import EntityKey
from controllers.fm.intent_store import Changes
from controllers.gc_pause import gc_paused
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import EntityError, HoverboardError
from hoverboard.contract.wire import fabric_pb2 as pb

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelBegun, Plan
    from hoverboard.contract.documents import Offload, OffloadPolicyStatus, PlaneStatus


MAX_ENTITIES = 1_000_000  # in one request
_LARGE = 1_000  # entities; during a larger request, garbage collection pauses
_log = logging.getLogger(__name__)
_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_Method = Callable[["FabricManagerServicer", _Request, Any], Awaitable[_Reply]]
_AT_A_TIME = 100  # entities decoded before the event loop may do other work


class ControlPlanePort(Protocol):
    """The control plane, as the gRPC service needs it."""

    async def full_update(
        self, entities: Sequence[AnyEntity], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a full update; return the changes, and the switches whose program changed."""
        ...

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> tuple[Changes, Sequence[str]]:
        """Apply a diff; return the changes, and the switches whose program changed."""
        ...

    async def plan(self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None) -> Plan:
        """The changes that a diff would make; nothing is changed."""
        ...

    async def entities(self, kind: str) -> dict[str, Any]:
        """The entities of a type, or of all types ("")."""
        ...

    async def status(self) -> PlaneStatus:
        """The status document."""
        ...

    async def offloads(self) -> list[Offload]:
        """The active offloads."""
        ...

    async def set_model(self, name: str) -> ModelBegun:
        """Change to another programming model; return {"model", "from", "switching"}."""
        ...

    async def set_offload(self, order: pb.OffloadSettings) -> OffloadPolicyStatus:
        """Change the offload policy and its settings; return the document of the new one."""
        ...


class Answers:
    """Counts the requests that are being answered, so that a process which ends can wait for their answers."""

    def __init__(self) -> None:
        self._pending = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self, context: Any) -> None:
        """Count a request until gRPC has handed its answer to the connection."""
        self._pending += 1
        self._none.clear()
        context.add_done_callback(self._sent)

    def _sent(self, _context: Any) -> None:
        self._pending -= 1
        if not self._pending:
            self._none.set()

    async def all_sent(self) -> None:
        """Wait until all requests have their answers."""
        await self._none.wait()


def _answered(method: _Method[_Request, _Reply]) -> _Method[_Request, _Reply]:
    """Count a request, and make a status code of an exception."""

    @wraps(method)
    async def call(self: FabricManagerServicer, request: _Request, context: Any) -> _Reply:
        self.answers.begin(context)
        try:
            return await method(self, request, context)
        except Exception as error:
            if not isinstance(error, HoverboardError):
                _log.error("a request failed", exc_info=error)
            await context.abort(*status_of(answer_to(error)))
            raise AssertionError("context.abort returned") from error

    return call


class FabricManagerServicer:
    """The FabricManager service of fabric.proto.

    Attributes:
        answers: counts the requests that have no answer yet.
    """

    def __init__(self, plane: ControlPlanePort) -> None:
        self._plane = plane
        self.answers = Answers()

    @_answered
    async def FullUpdate(self, request: pb.FullUpdateRequest, context: Any) -> pb.UpdateReply:
        """Replace the whole configuration."""
        with _gc_paused_for(len(request.entities)):
            entities = await decode_entities(request.entities)
            return _reply(*await self._plane.full_update(entities, _expected(request)))

    @_answered
    async def Diff(self, request: pb.DiffRequest, context: Any) -> pb.UpdateReply:
        """Change a part of the configuration."""
        with _gc_paused_for(len(request.upsert) + len(request.remove)):
            upsert, remove = await decode_entities(request.upsert), await _references(request)
            return _reply(*await self._plane.diff(upsert, remove, _expected(request)))

    @_answered
    async def Plan(self, request: pb.DiffRequest, context: Any) -> pb.Json:
        """The changes that a diff would make."""
        upsert, remove = await decode_entities(request.upsert), await _references(request)
        return _json(await self._plane.plan(upsert, remove, _expected(request)))

    @_answered
    async def List(self, request: pb.EntityRef, context: Any) -> pb.Json:
        """The entities of a type, or of all types."""
        return _json(await self._plane.entities(request.type))

    @_answered
    async def Status(self, request: pb.Empty, context: Any) -> pb.Json:
        """The status document."""
        return _json(await self._plane.status())

    @_answered
    async def Offloads(self, request: pb.Empty, context: Any) -> pb.Json:
        """The active offloads."""
        return _json(await self._plane.offloads())

    @_answered
    async def SetModel(self, request: pb.SetModelRequest, context: Any) -> pb.Json:
        """Change to another programming model."""
        return _json(await self._plane.set_model(request.model))

    @_answered
    async def SetOffload(self, request: pb.OffloadSettings, context: Any) -> pb.Json:
        """Change the offload policy and its settings."""
        return _json(await self._plane.set_offload(request))


def _json(document: Any) -> pb.Json:
    return pb.Json(json=json.dumps(document))


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
    """Decode entities; a long list does not block the event loop.

    Raises:
        EntityError: one of them is wrong, or there are too many.
    """
    if len(messages) > MAX_ENTITIES:
        raise EntityError(
            f"{len(messages)} entities in one request; the maximum is {MAX_ENTITIES}",
            where="fabric manager",
            next_step="send fewer with the full update, and the rest as diffs",
        )
    entities = []
    for at in range(0, len(messages), _AT_A_TIME):
        entities += [decode_entity(message) for message in messages[at : at + _AT_A_TIME]]
        await asyncio.sleep(0)
    return entities


def _reply(changes: Changes, switches: Sequence[str]) -> pb.UpdateReply:
    return pb.UpdateReply(
        version=changes.version,
        added=len(changes.added),
        changed=len(changes.changed),
        removed=len(changes.removed),
        switches=sorted(switches),
    )
