"""Admission to the fabric manager's store: requests one after the other, but a large one does not delay other networks.

Checking 10,000 entities takes a tenth of a second or more. So a large request is checked and applied in steps. Between
two steps, small requests of other networks are applied. They must have nothing in common with the large one: no
network, no name, nothing that is unique in the cluster. All other requests wait. Each request is accepted or rejected
whole (paper 3.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from controllers.fm.index import EntityKey, key_of
from controllers.fm.intent_store import Changes, IntentStore
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network

SMALL = 200  # most entities of a request that is applied in one step: about 2 ms


@dataclass(frozen=True, slots=True)
class _Claim:
    """The part of the intent that a request affects.

    Attributes:
        networks: the networks whose entities it adds, changes or removes.
        keys: the keys of these entities.
    """

    networks: set[str]
    keys: set[EntityKey]

    @classmethod
    def of(cls, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], fabric: IntentStore) -> _Claim | None:
        """The claim of a request; None if it affects more than the entities of some networks."""
        keys = {*map(key_of, upsert), *remove}
        there = fabric.entities
        entities = [*upsert, *[there[key] for key in keys if key in there]]
        networks: set[str] = set()
        for entity in entities:
            if isinstance(entity, VM):  # nearly all are
                if entity.external_ips:
                    return None
            elif isinstance(entity, Host | Hoverboard | Network):
                return None
            networks.add(entity.network)
        return cls(networks=networks, keys=keys)

    def conflicts_with(self, other: _Claim) -> bool:
        """Whether the two requests must not be applied at the same time."""
        return not (self.networks.isdisjoint(other.networks) and self.keys.isdisjoint(other.keys))


class Admission:
    """Decides when a request may change the fabric manager's store.

    Args:
        fabric: the store; only this object changes it.
    """

    def __init__(self, fabric: IntentStore) -> None:
        self._fabric = fabric
        self._turn = asyncio.Lock()
        self._under_way: _Claim | None = None  # of the large request in progress

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Inside, no request is in progress."""
        async with self._turn:
            yield

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> Changes:
        """Apply a diff (see `IntentStore.diff`); on return, the caller runs before any other request.

        Raises:
            As `IntentStore.diff`.
        """
        small = len(upsert) + len(remove) <= SMALL
        if small and expected is None and self._under_way is not None:
            claim = _Claim.of(upsert, remove, self._fabric)
            if claim is not None and not claim.conflicts_with(self._under_way):
                return self._fabric.diff(upsert, remove)
        async with self._turn:
            claim = None if small or expected is not None else _Claim.of(upsert, remove, self._fabric)
            if claim is None:
                return self._fabric.diff(upsert, remove, expected)
            return await self._step_by_step(claim, upsert, remove)

    async def _step_by_step(self, claim: _Claim, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey]) -> Changes:
        steps = self._fabric.diff_in_steps(upsert, remove)
        self._under_way = claim
        try:
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    changes: Changes = end.value
                    return changes
                await asyncio.sleep(0)
        finally:
            steps.close()  # a cancelled request leaves the store as it was
            self._under_way = None
