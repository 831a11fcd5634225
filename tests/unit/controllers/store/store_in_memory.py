"""The port of the store over `MemoryStore` alone, in the test's own time: it can be away, slow, and lose its leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

from controllers.store.memory import MemoryStore
from controllers.store.port import Entry, Put, StoreError

TURN = 0.05  # seconds between two looks for leases that are over
TURNS = 20  # how often a lease is kept alive in its time


class Place:
    """The store itself; `connect` gives a connection to it.

    Attributes:
        away: it does not answer.
        slow: seconds until watchers receive a change.
    """

    def __init__(self) -> None:
        self.data = MemoryStore()
        self.away = False
        self.slow = 0.0
        self._watches: list[asyncio.Queue[list[Entry] | None]] = []
        self._clock = asyncio.get_running_loop().create_task(self._expire())

    def connect(self) -> LocalStore:
        return LocalStore(self)

    def go_away(self) -> None:
        """It answers nothing any more; leases stand still."""
        self.away = True
        for queue in self._watches:
            queue.put_nowait(None)

    def come_back(self, *, leases: bool = True) -> None:
        """It answers again; without `leases` only the keys that no lease holds are there."""
        self.away = False
        if not leases:
            lasting = self.data.lasting()
            self.data = MemoryStore(first_lease=1001)
            self.data.commit({}, {key: Put(value) for key, value in lasting.items()})

    def close(self) -> None:
        self._clock.cancel()

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watches)

    def end_watches(self) -> None:
        """End the streams of all watchers."""
        for queue in self._watches:
            queue.put_nowait(None)

    async def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        queue: asyncio.Queue[list[Entry] | None] = asyncio.Queue()
        data = self.data
        token = data.watch(prefix, queue.put_nowait)
        self._watches.append(queue)
        try:
            yield data.items(prefix)
            await queue.get()
            while (entries := await queue.get()) is not None:
                await asyncio.sleep(self.slow)
                yield entries
        finally:
            self._watches.remove(queue)
            data.unwatch(token)

    async def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TURN)
            if self.away:
                self.data.grace(TURN)
            else:
                self.data.expire(loop.time())


class LocalStore:
    """A `port.Store`; its leases are kept alive several times in a lease's time, as the adapters do.

    Attributes:
        stopped: it keeps no lease alive, as a process that does not run.
        slow: seconds until it knows that a lease is over.
        before_commit: called before each write.
        granted, revoked: leases.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._keeping: dict[int, asyncio.Task[None]] = {}
        self.stopped = False
        self.slow = 0.0
        self.before_commit: Callable[[], None] = lambda: None
        self.granted: list[tuple[int, float]] = []
        self.revoked: list[int] = []

    def _data(self) -> MemoryStore:
        if self._place.away:
            raise StoreError("the store does not answer", where="here")
        return self._place.data

    async def get(self, key: str) -> Entry | None:
        await asyncio.sleep(0)
        return self._data().get(key)

    async def items(self, prefix: str) -> list[Entry]:
        await asyncio.sleep(0)
        return self._data().items(prefix)

    async def commit(self, expect: Mapping[str, int], put: Mapping[str, Put], delete: Iterable[str] = ()) -> int | None:
        await asyncio.sleep(0)
        self.before_commit()
        return self._data().commit(expect, put, delete)

    def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        self._data()
        return self._place.watch(prefix)

    async def lease(self, seconds: float, lost: Callable[[], None]) -> int:
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        lease = self._data().grant(seconds, loop.time())
        self.granted.append((lease, seconds))
        self._keeping[lease] = loop.create_task(self._keep(lease, seconds / TURNS, lost))
        return lease

    async def _keep(self, lease: int, pause: float, lost: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(pause)
            if self.stopped or self._place.away:
                continue
            if not self._place.data.keep(lease, asyncio.get_running_loop().time()):
                await asyncio.sleep(self.slow)
                del self._keeping[lease]
                lost()
                return

    async def revoke(self, lease: int) -> None:
        if lease in self._keeping:
            self._keeping.pop(lease).cancel()
        await asyncio.sleep(0)
        self._data().revoke(lease)
        self.revoked.append(lease)

    async def close(self) -> None:
        for task in self._keeping.values():
            task.cancel()
        self._keeping.clear()
