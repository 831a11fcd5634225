"""A VM controller's stream from the fabric manager: it receives the intent, and reports the results.

A full update is compared with the known intent: so a restarted fabric manager causes only the changes that it sends.
While the fabric manager is down, the known intent stays.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import grpc

from controllers.crash import critical_task
from controllers.fm.codec import decode_entity
from controllers.fm.index import EntityKey, key_of
from controllers.fm.intent_store import Changes
from controllers.roles.stream import Outbox
from controllers.store.channels import aio_channel
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire.control_pb2_grpc import FabricStub

_log = logging.getLogger(__name__)

_PAUSE = 0.05


class IntentEvents(Protocol):
    """The receiver of the fabric manager's messages."""

    async def changed(self, changes: Changes, number: int) -> list[str]:
        """Apply a change of the intent; return the switches whose program changed, when they have it."""
        ...

    def applied(self, number: int) -> None:
        """Record that the master's switches have this update."""
        ...

    def ordered(self, order: pb.ModelOrder) -> None:
        """Record the ordered programming model, and the stage that the change to it may reach."""
        ...

    def offload_ordered(self, order: pb.OffloadOrder) -> None:
        """Record the ordered offload policy."""
        ...

    def document(self, what: str) -> str:
        """The JSON document that was requested."""
        ...

    def suspect(self, term: int) -> None:
        """Record that the master of this term is probably dead."""
        ...


class Intent:
    """All entities, assembled from pieces of updates. Pure."""

    def __init__(self) -> None:
        self._entities: dict[EntityKey, AnyEntity] = {}
        self._upsert: list[AnyEntity] = []
        self._remove: list[EntityKey] = []

    def begin(self) -> None:
        """Begin a new stream: drop the pieces of an update that the old stream did not finish."""
        self._upsert, self._remove = [], []

    def take(self, part: pb.FabricPart) -> Changes | None:
        """Add a piece; return the changes after the last piece of the update, else None."""
        self._upsert += map(decode_entity, part.upsert)
        self._remove += [(one.type, one.name) for one in part.remove]
        if not part.last:
            return None
        known, upsert, remove = self._entities, self._upsert, self._remove
        self.begin()
        if part.full:
            given = {key_of(entity) for entity in upsert}
            remove = [key for key in known if key not in given]
        removed = tuple(known.pop(key) for key in remove if key in known)
        added, changed = [], []
        for entity in upsert:
            before = known.get(key_of(entity))
            if before is None:
                added.append(entity)
            elif before != entity:
                changed.append((before, entity))
            else:
                continue
            known[key_of(entity)] = entity
        return Changes(part.version, tuple(added), tuple(changed), removed)


class FabricLink:
    """The stream from the fabric manager at `address`; it reconnects without a limit."""

    def __init__(self, address: str, hello: pb.ControllerHello, events: IntentEvents) -> None:
        self.connected = False
        self._hello = hello
        self._events = events
        self._standing = pb.Standing()
        self._intent = Intent()
        self._channel = aio_channel(address)
        self._stub: Any = FabricStub(self._channel)  # type: ignore[no-untyped-call]
        self._outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._task = critical_task(self._run())

    async def close(self) -> None:
        """End the stream."""
        for task in (self._task, *self._tasks):
            task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close(None)

    def report_standing(self, master: bool, term: int) -> None:
        """Report whether this controller is master, and the highest term."""
        if (self._standing.master, self._standing.term) != (master, term):
            self._standing = pb.Standing(master=master, term=term)
            self._send_report(pb.ControllerReport(standing=self._standing))

    def report_reached(self, number: int, stage: str) -> None:
        """Report that a stage of a model change has ended here."""
        self._send_report(pb.ControllerReport(reached=pb.Reached(number=number, stage=stage)))

    def _send_report(self, report: pb.ControllerReport) -> None:
        if self.connected:
            self._outbox.put(report)

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except grpc.aio.AioRpcError as error:
                _log.info("fabric manager: %s", error.details())
            except asyncio.InvalidStateError as error:  # a write after the call had failed
                _log.info("fabric manager: %s", error)
            finally:
                self.connected = False
            await asyncio.sleep(_PAUSE)

    async def _session(self) -> None:
        call = self._stub.Session(wait_for_ready=True)
        self._outbox = outbox = Outbox()
        self._intent.begin()
        await call.write(pb.ControllerReport(hello=self._hello))
        self.connected = True
        self._send_report(pb.ControllerReport(standing=self._standing))
        writing = asyncio.ensure_future(outbox.write_to(call))
        try:
            async for update in call:
                self._handle(update)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            call.cancel()

    def _handle(self, update: pb.FabricUpdate) -> None:
        match update.WhichOneof("update"):
            case "part":
                changes = self._intent.take(update.part)
                if changes is not None:
                    # Tasks start in the order of their creation: so updates are applied in order.
                    task = critical_task(self._apply(changes, update.part.number))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            case "ask":
                answer = pb.Answer(id=update.ask.id, json=self._events.document(update.ask.what))
                self._send_report(pb.ControllerReport(answer=answer))
            case "suspect":
                self._events.suspect(update.suspect.term)
            case "applied":
                # Not before the update itself, which a task applies.
                self._loop.call_soon(self._events.applied, update.applied)
            case "model":
                self._events.ordered(update.model)
            case "offload":
                self._events.offload_ordered(update.offload)

    async def _apply(self, changes: Changes, number: int) -> None:
        switches = await self._events.changed(changes, number)
        applied = pb.Applied(number=number, version=changes.version, switches=switches)
        self._send_report(pb.ControllerReport(applied=applied))
