"""The fabric manager's store: the validated intent of one cluster (paper section 3.1).

A full update replaces everything, a diff changes a part. Each is applied whole or not at all. Its cost depends on the
size of the change, not of the store. The result is the change set for the VM controllers. No I/O; knows neither
switches nor programming models.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from controllers.fm.codec import entity_document
from controllers.fm.index import EntityKey, FabricIndex, entity_where, key_of
from controllers.fm.intent_checks import IntentChecks
from controllers.fm.rejections import unknown_type
from hoverboard.contract.entities import ENTITY_TYPES, AnyEntity
from hoverboard.contract.errors import EntityError, RunError

_STEP = 100  # entities checked in one step, before other requests may run: about a ms


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one accepted request; `changed` holds (before, after)."""

    version: int
    added: tuple[AnyEntity, ...] = ()
    changed: tuple[tuple[AnyEntity, AnyEntity], ...] = ()
    removed: tuple[AnyEntity, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class IntentStore:
    """The entities of one cluster.

    Attributes:
        version: grows by one with each request that changes something, and with the first full update.
        synced: a full update was accepted; a diff before it is rejected.
    """

    def __init__(self) -> None:
        self.version = 0
        self.synced = False
        self._index = FabricIndex()
        self._checks = IntentChecks(self._index)

    @property
    def entities(self) -> dict[EntityKey, AnyEntity]:
        """All entities by (type, name); not to be modified."""
        return self._index.entities

    def listed(self, kind: str) -> dict[str, Any]:
        """{"version", "entities"}: the entities of a type, or of all types ("").

        Raises:
            EntityError: the type does not exist.
        """
        if kind and kind not in ENTITY_TYPES:
            raise unknown_type(kind, "")
        found = [entity_document(entity) for entity in self.entities.values() if kind in ("", entity.TYPE)]
        return {"version": self.version, "entities": found}

    def expect(self, version: int | None) -> None:
        """Reject a request that expects a version other than the present one; None: any version.

        Raises:
            RunError: another request has changed the intent since.
        """
        if version is not None and version != self.version:
            raise RunError(
                f"the configuration is at version {self.version}, but the request expects version {version}",
                where="fabric manager", next_step="read the present state, and send a new request with its version",
            )  # fmt: skip

    def full_update(self, entities: Sequence[AnyEntity], expected: int | None = None) -> Changes:
        """Replace the whole configuration.

        Args:
            entities: the new configuration; every entity that is not in it is removed.
            expected: the version that the request expects; None: any.

        Raises:
            EntityError: an entity is wrong, or does not fit the others; nothing was changed.
            RunError: the version is not the expected one.
        """
        self.expect(expected)
        given = {key_of(entity) for entity in entities}
        gone = [key for key in self._index.entities if key not in given]
        changes = _run(self._apply(entities, gone, first=not self.synced))
        self.synced = True
        return changes

    def diff(self, upsert: Sequence[AnyEntity], remove: Iterable[EntityKey], expected: int | None = None) -> Changes:
        """Change a part of the configuration; if the diff is in force already, nothing changes.

        Args:
            upsert: entities to add, or to change if their type and name exist.
            remove: (type, name) of each entity to remove.
            expected: the version that the request expects; None: any.

        Raises:
            RunError: there was no full update yet, or the version is not the expected one.
            EntityError: as for `full_update`.
        """
        return _run(self.diff_in_steps(upsert, remove, expected))

    def diff_in_steps(
        self, upsert: Sequence[AnyEntity], remove: Iterable[EntityKey], expected: int | None = None
    ) -> Generator[None, None, Changes]:
        """Apply a diff step by step; between two steps, other requests may change what this one does not affect.

        `controllers.fm.admission` decides which requests those are.
        """
        if not self.synced:
            raise RunError(
                "a diff came before the first full update", where="fabric manager",
                next_step="send the whole configuration (FullUpdate) before diffs",
            )  # fmt: skip
        self.expect(expected)
        removed = list(remove)
        for kind, name in removed:
            if kind not in ENTITY_TYPES:
                raise unknown_type(kind, name)
        both = set(removed) & {key_of(entity) for entity in upsert}
        if both:
            kind, name = min(both)
            raise EntityError(
                "the request both sets and removes it",
                where=f"{kind}/{name}.name",
                next_step="send the removal and the new entity in two requests, or only the new entity",
            )
        return (yield from self._apply(upsert, removed, first=False))

    def trial(self, upsert: Sequence[AnyEntity], remove: Iterable[EntityKey], expected: int | None = None) -> Changes:
        """The changes that `diff` would make; nothing is changed.

        Raises:
            As `diff`.
        """
        version = self.version
        changes = self.diff(upsert, remove, expected)
        for entity in (*changes.added, *(after for _, after in changes.changed)):
            self._index.remove(entity)
        for entity in (*changes.removed, *(before for before, _ in changes.changed)):
            self._index.add(entity)
        self.version = version
        return changes

    def _apply(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], *, first: bool
    ) -> Generator[None, None, Changes]:
        entities = self._index.entities
        seen: set[EntityKey] = set()
        added: list[AnyEntity] = []
        changed: list[tuple[AnyEntity, AnyEntity]] = []
        for entity in upsert:
            if not len(seen) % _STEP:
                yield
            key = key_of(entity)
            if key in seen:
                raise EntityError(
                    f"the request names {key[0]} {key[1]!r} twice",
                    where=entity_where(entity, "name"),
                    next_step="give each entity of a type a different name",
                )
            seen.add(key)
            before = entities.get(key)
            if before is None:
                added.append(entity)
            elif before != entity:
                changed.append((before, entity))
        removed = [entities[key] for key in dict.fromkeys(remove) if key in entities]
        yield from self._replace(removed + [old for old, _ in changed], added + [new for _, new in changed])
        if removed or added or changed or first:
            self.version += 1
        return Changes(self.version, tuple(added), tuple(changed), tuple(removed))  # tour: vm 4

    def _replace(self, old: Sequence[AnyEntity], new: Sequence[AnyEntity]) -> Generator[None, None, None]:
        """Remove `old` and add `new`; on an error or cancellation, restore everything and raise."""
        taken: list[AnyEntity] = []
        placed: list[AnyEntity] = []
        try:
            for entity in old:
                self._index.remove(entity)
                taken.append(entity)
                if not len(taken) % _STEP:
                    yield
            for entity in new:
                self._index.add(entity)
                placed.append(entity)
                if not len(placed) % _STEP:
                    yield
            for at, entity in enumerate(new):
                self._checks.check(entity)
                if not at % _STEP:
                    yield
            for at, entity in enumerate(old):
                self._checks.check_references_to(entity)
                if not at % _STEP:
                    yield
        except BaseException:
            for entity in reversed(placed):
                self._index.remove(entity)
            for entity in reversed(taken):
                self._index.add(entity)
            raise


def _run(steps: Generator[None, None, Changes]) -> Changes:
    """Take all steps; return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Changes, end.value)
