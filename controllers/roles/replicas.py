"""The fabric manager's side of the VM controllers' streams: members, masters, and the updates sent to each.

All replicas receive updates in the same order. A new controller receives the whole intent that the others have so far.
Changes that still wait in a network's queue come to it later, with the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from controllers.crash import crash_on_error
from controllers.fm.codec import encode_entity
from controllers.fm.index import EntityKey, key_of
from controllers.fm.intent_store import Changes
from controllers.roles.model_order import ModelOrders
from controllers.roles.stream import Outbox, Questions
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import RunError
from hoverboard.contract.wire import control_pb2 as pb
from hoverboard.contract.wire import fabric_pb2

_log = logging.getLogger(__name__)

_AT_ONCE = 2000  # entities in one message
# Seconds that an update waits for the masters; they wait for their switches (see `controllers.vmc.controller`).
_CONFIRM_TIMEOUT = 0.25
_ANSWER_TIMEOUT = 1.0


@dataclass(slots=True, eq=False)
class Replica:
    """One VM controller's stream."""

    partition: int
    replica: int
    pid: int
    outbox: Outbox = field(default_factory=Outbox)
    questions: Questions = field(default_factory=Questions)
    master: bool = False
    term: int = 0
    synced: bool = False  # has received a full update
    version: int = 0  # of the last update that it has computed


@dataclass(slots=True)
class _Confirmation:
    """The masters' confirmations of one update."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    partitions: set[int] = field(default_factory=set)
    switches: set[str] = field(default_factory=set)


class Roster:
    """The VM controllers.

    Args:
        partitions: number of partitions.
        model: the programming model that they should run.
        offload: the offload policy that they should use.
    """

    def __init__(self, partitions: int, model: str, offload: fabric_pb2.OffloadSettings) -> None:
        self.partitions = partitions
        self.members: set[Replica] = set()
        self.orders = ModelOrders(model, partitions, self._send_order)
        self._offload = pb.OffloadOrder(settings=offload)
        self._begun = False  # the first update was sent
        self._intent: dict[EntityKey, AnyEntity] = {}  # as sent so far
        self._version = 0
        self._number = 0
        self._waiting: dict[int, _Confirmation] = {}
        self._closing = False

    def close(self) -> None:
        """Stop: streams that end from now on do not mean that controllers died."""
        self._closing = True

    def masters(self) -> dict[int, Replica]:
        """The master of each partition: of the replicas that report to be master, the one with the highest term."""
        found: dict[int, Replica] = {}
        for one in self.members:
            if one.master and (one.partition not in found or found[one.partition].term < one.term):
                found[one.partition] = one
        return found

    # --- intent ---------------------------------------------------------------------------------------

    async def broadcast(self, changes: Changes) -> list[str]:
        """Send a change to all; return the switches whose program changed, when they have it or after a timeout."""
        if self._begun and not changes:
            return []
        self._begun = True
        self._number += 1
        number, self._version = self._number, changes.version
        upsert = [*changes.added, *(after for _, after in changes.changed)]
        remove = [key_of(entity) for entity in changes.removed]
        for key in remove:
            self._intent.pop(key, None)
        self._intent.update((key_of(entity), entity) for entity in upsert)
        confirmation = self._waiting[number] = _Confirmation()
        parts: list[pb.FabricUpdate] | None = None
        for member in self.members:
            if not member.synced:
                self._send_full_update(member)
                continue
            if parts is None:
                parts = list(_parts(number, changes.version, upsert, remove, full=False))
            for part in parts:
                member.outbox.put(part)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(confirmation.done.wait(), _CONFIRM_TIMEOUT)
        finally:
            del self._waiting[number]
        return sorted(confirmation.switches)

    def _send_full_update(self, member: Replica) -> None:
        for part in _parts(self._number, self._version, list(self._intent.values()), [], full=True):
            member.outbox.put(part)
        member.synced = True

    # --- programming model ----------------------------------------------------------------------------

    def _send_order(self, order: pb.ModelOrder) -> None:
        for member in self.members:
            member.outbox.put(pb.FabricUpdate(model=order))

    def order_offload(self, settings: fabric_pb2.OffloadSettings) -> None:
        """Order another offload policy."""
        self._offload = pb.OffloadOrder(number=self._offload.number + 1, settings=settings)
        for member in self.members:
            member.outbox.put(pb.FabricUpdate(offload=self._offload))

    # --- members --------------------------------------------------------------------------------------

    def join(self, member: Replica) -> None:
        """Add a controller; send it the whole intent, now or with the first update."""
        self.members.add(member)
        member.outbox.put(pb.FabricUpdate(model=self.orders.order))
        member.outbox.put(pb.FabricUpdate(offload=self._offload))
        if self._begun:
            self._send_full_update(member)

    def leave(self, member: Replica) -> None:
        """Remove a controller whose stream broke; if it was master, its standbys need not wait for its lease."""
        self.members.discard(member)
        member.questions.fail(
            RunError("the VM controller disconnected", where="fabric manager", next_step="retry in a moment")
        )
        if member.master and not self._closing:
            for other in self.members:
                if other.partition == member.partition:
                    other.outbox.put(pb.FabricUpdate(suspect=pb.Suspect(term=member.term)))

    def received(self, member: Replica, report: pb.ControllerReport) -> None:
        """Handle a controller's report."""
        match report.WhichOneof("report"):
            case "standing":
                member.master, member.term = report.standing.master, report.standing.term
            case "applied":
                member.version = report.applied.version
                self._applied(member, report.applied)
            case "answer":
                member.questions.answer(report.answer.id, report.answer.json)
            case "reached":
                if self.masters().get(member.partition) is member:
                    self.orders.reached(member.partition, report.reached)

    def _applied(self, member: Replica, applied: pb.Applied) -> None:
        if self.masters().get(member.partition) is not member:
            return
        for other in self.members:
            if other.partition == member.partition and other is not member:
                other.outbox.put(pb.FabricUpdate(applied=applied.number))
        confirmation = self._waiting.get(applied.number)
        if confirmation is not None:
            confirmation.partitions.add(member.partition)
            confirmation.switches.update(applied.switches)
            if len(confirmation.partitions) == self.partitions:
                confirmation.done.set()

    async def ask(self, what: str) -> dict[Replica, Any]:
        """Request a document from all controllers; return the answers that arrive in time."""
        waiting: dict[asyncio.Future[Any], Replica] = {}
        for member in self.members:
            number, answer = member.questions.ask()
            member.outbox.put(pb.FabricUpdate(ask=pb.Ask(id=number, what=what)))
            waiting[answer] = member
        if not waiting:
            return {}
        done, late = await asyncio.wait(waiting, timeout=_ANSWER_TIMEOUT)
        for answer in late:
            answer.cancel()
        return {waiting[answer]: json.loads(answer.result()) for answer in done if answer.exception() is None}


def _parts(
    number: int, version: int, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], *, full: bool
) -> Iterator[pb.FabricUpdate]:
    """An update, cut into messages of limited size."""
    ranges = range(0, max(len(upsert), 1), _AT_ONCE)
    for begin in ranges:
        yield pb.FabricUpdate(
            part=pb.FabricPart(
                number=number,
                version=version,
                full=full,
                last=begin == ranges[-1],
                upsert=[encode_entity(entity) for entity in upsert[begin : begin + _AT_ONCE]],
                remove=[fabric_pb2.EntityRef(type=kind, name=name) for kind, name in remove] if begin == 0 else [],
            )
        )


class ReplicasServicer:
    """The Fabric service of control.proto."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def Session(self, reports: AsyncIterator[pb.ControllerReport], context: Any) -> None:
        """Serve one controller's stream; its hello comes first."""
        member: Replica | None = None
        writing: asyncio.Task[None] | None = None
        try:
            async for report in reports:
                if member is not None:
                    with crash_on_error():
                        self._roster.received(member, report)
                elif report.WhichOneof("report") == "hello":
                    hello = report.hello
                    member = Replica(hello.partition, hello.replica, hello.pid)
                    writing = asyncio.ensure_future(self._write(member, context))
                    with crash_on_error():
                        self._roster.join(member)
        finally:
            if member is not None:
                with crash_on_error():
                    self._roster.leave(member)
            if writing is not None:
                writing.cancel()

    async def _write(self, member: Replica, context: Any) -> None:
        await member.outbox.write_to(context)
        _log.warning("VM controller %d/%d does not read its stream; closed", member.partition, member.replica)
        context.cancel()
