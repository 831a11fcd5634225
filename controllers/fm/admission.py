"""The way into the fabric manager's store: one request after the other, and a large one keeps no other network waiting.

Checking 10,000 entities takes a tenth of a second and more. So a large request of some networks is checked and taken in
step by step, and between two steps small requests of other networks have their turn, if they have nothing to do with
it: no network, no name, nothing that is unique in the whole cluster. All else waits. Each request is still taken
whole or refused whole (paper section 3.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from controllers.fm.index import EntityKey, key_of
from controllers.fm.intent_store import Changes, IntentStore
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network

SMALL = 200  # entities of a request that is taken in at once: about 2 ms


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request has to do with.

    Attributes:
        networks: whose entities it adds, changes or removes.
        keys: of these.
    """

    networks: set[str]
    keys: set[EntityKey]

    @classmethod
    def of(cls, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], fabric: IntentStore) -> _Claim | None:
        """None where it has to do with more than some networks' own entities."""
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
        """Whether the two may not go on side by side."""
        return not (self.networks.isdisjoint(other.networks) and self.keys.isdisjoint(other.keys))


class Admission:
    """Who may change a fabric manager's store, and when.

    Args:
        fabric: the store; nobody else may change it.
    """

    def __init__(self, fabric: IntentStore) -> None:
        self._fabric = fabric
        self._turn = asyncio.Lock()
        self._under_way: _Claim | None = None  # of the large request whose steps go on

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Inside, no request is half taken in."""
        async with self._turn:
            yield

    async def diff(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], expected: int | None = None
    ) -> Changes:
        """As `IntentStore.diff`; when it returns, the caller goes on before any other request does.

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
            steps.close()  # where it was given up, all is put back as it was
            self._under_way = None
