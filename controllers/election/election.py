"""Runs a replica's candidacy against the store: lease, watch, conditional writes (see `candidacy`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

from controllers.crash import critical_task
from controllers.election.candidacy import Candidacy
from controllers.store.port import Entry, LeaseLost, Store, StoreError

_log = logging.getLogger(__name__)

LEASE = 1.0  # seconds
_PAUSE = 0.05  # seconds between two tries with a store that does not answer
_DEFERENCE = 0.3  # seconds that a standby waits for a former master after it, or the store, has reconnected


class Election:
    """One replica in its partition's election.

    Args:
        changed: called when `candidacy.mine`, `.term` or `.master` has changed.
    """

    def __init__(self, store: Store, candidacy: Candidacy, changed: Callable[[], None]) -> None:
        self.candidacy = candidacy
        self._store = store
        self._changed = changed
        self._notified: tuple[int, int, str] = (0, 0, "")
        self._lease = 0
        self._store_away = False
        self._wake = asyncio.Event()
        self._task = critical_task(self._run())

    async def close(self) -> None:
        """Leave the election; a master's place becomes free at once."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._lease:
            try:
                await self._store.revoke(self._lease)
            except StoreError as error:
                _log.info("%s", error)

    def suspect(self, term: int) -> None:
        """Note that the master of this term is probably dead."""
        self.candidacy.suspect(term)
        self._wake.set()

    def deposed(self, term: int) -> None:
        """Record that a front end rejected our program of this term."""
        self.candidacy.deposed(term)
        self._notify()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._take_part()
            except LeaseLost:
                self._over(self._lease)
            except StoreError as error:
                if not self._store_away:
                    _log.warning("%s", error)
                self._store_away = True
            await asyncio.sleep(_PAUSE)

    async def _take_part(self) -> None:
        candidacy = self.candidacy
        was_master = bool(candidacy.mine)
        async with aclosing(self._store.watch(candidacy.prefix)) as watch:
            candidacy.watching()
            candidacy.received(await anext(watch))
            self._store_away = False
            self._notify()
            listening = asyncio.ensure_future(self._listen(watch))
            listening.add_done_callback(lambda _: self._wake.set())
            try:
                if candidacy.term and not was_master:
                    await self._defer(listening)
                while not listening.done():
                    self._wake.clear()
                    await self._take_lease()
                    if candidacy.wants():
                        await self._campaign()
                    await self._wake.wait()
                await listening
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _take_lease(self) -> None:
        """Take a new lease, if this process has no lease."""
        if not self._lease:
            self._lease = lease = await self._store.lease(LEASE, lambda: self._over(lease))

    async def _defer(self, listening: asyncio.Future[Any]) -> None:
        """Give a former master time to return, unless it is probably dead."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DEFERENCE):
                while not (listening.done() or self.candidacy.suspicious):
                    self._wake.clear()
                    await self._wake.wait()

    async def _listen(self, watch: AsyncGenerator[list[Entry], None]) -> None:
        async for entries in watch:
            self.candidacy.received(entries)
            self._notify()
            self._wake.set()
        raise StoreError("the watch has ended", where="store")

    async def _campaign(self) -> None:
        candidacy = self.candidacy
        campaign = candidacy.campaign(self._lease)
        revision = await self._store.commit(campaign.expect, campaign.put)
        if revision is not None:
            candidacy.won(campaign, revision)
            self._notify()

    def _over(self, lease: int) -> None:
        """Record that a lease has ended; ignored if a newer lease has replaced it."""
        if lease != self._lease:
            return
        self._lease = 0
        self.candidacy.lost()
        self._notify()
        self._wake.set()

    def _notify(self) -> None:
        now = (self.candidacy.mine, self.candidacy.term, self.candidacy.master)
        if now != self._notified:
            self._notified = now
            self._changed()
