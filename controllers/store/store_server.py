"""The gRPC service of the embedded store, in the fabric manager's process, over `store.memory`.

Keys without a lease are saved in a file, so that a restart does not lose the terms. Decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from controllers.crash import critical_task
from controllers.store.memory import MemoryStore
from controllers.store.port import Entry, LeaseLost, Put
from hoverboard.contract.wire import store_pb2 as pb

_log = logging.getLogger(__name__)

_TURN = 0.05  # seconds between two checks for leases that have ended
_BEHIND = 1000  # changes that may wait for a watcher; beyond that its watch is closed


class StoreServicer:
    """The Store service of store.proto.

    Args:
        path: file for the keys without a lease; None: they are not saved.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        # Lease numbers must differ from those of this store before a restart. No command sets the boot clock.
        self._store = MemoryStore(first_lease=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self._path = path
        self._written: dict[str, str] = {}
        self._read()
        self._clock = critical_task(self._expire())

    def close(self) -> None:
        """Stop to end leases."""
        self._clock.cancel()

    # --- the service --------------------------------------------------------------------------------

    async def Get(self, request: pb.StoreQuery, context: Any) -> pb.StoreEntries:
        """The entry of a key, or of all keys that begin with it."""
        if request.prefix:
            return _message(self._store.items(request.key))
        entry = self._store.get(request.key)
        return _message([] if entry is None else [entry])

    async def Commit(self, request: pb.StoreCommit, context: Any) -> pb.StoreCommitted:
        """Write and delete keys under conditions."""
        put = {key: Put(write.data, write.lease) for key, write in request.put.items()}
        try:
            revision = self._store.commit(dict(request.expect), put, list(request.delete))
        except LeaseLost:
            return pb.StoreCommitted(lease_lost=True)
        self._write()
        return pb.StoreCommitted(revision=revision)

    async def Watch(self, request: pb.StoreQuery, context: Any) -> AsyncIterator[pb.StoreEntries]:
        """Send all present keys, then every change."""
        changes: asyncio.Queue[list[Entry]] = asyncio.Queue()
        token = self._store.watch(request.key, changes.put_nowait)
        try:
            while True:
                yield _message(await changes.get())
                if changes.qsize() > _BEHIND:
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "watcher too slow; restart the watch")
        finally:
            self._store.unwatch(token)

    async def Grant(self, request: pb.StoreLease, context: Any) -> pb.StoreLease:
        """Grant a new lease."""
        return pb.StoreLease(lease=self._store.grant(request.seconds, self._loop.time()), seconds=request.seconds)

    async def Keep(self, request: pb.StoreLease, context: Any) -> pb.StoreLease:
        """Keep a lease alive."""
        kept = self._store.keep(request.lease, self._loop.time())
        return pb.StoreLease(lease=request.lease, seconds=float(kept))

    async def Revoke(self, request: pb.StoreLease, context: Any) -> pb.StoreNothing:
        """End a lease."""
        self._store.revoke(request.lease)
        return pb.StoreNothing()

    # --- time and file ------------------------------------------------------------------------------

    async def _expire(self) -> None:
        last = self._loop.time()
        while True:
            await asyncio.sleep(_TURN)
            now = self._loop.time()
            if now - last > 4 * _TURN:  # this process was busy or stopped: renewals still wait in its sockets
                self._store.grace(now - last)
            last = now
            self._store.expire(now)

    def _read(self) -> None:
        if self._path is None or not self._path.exists():
            return
        try:
            keys = json.loads(self._path.read_text(encoding="utf-8"))
            self._store.commit({}, {str(key): Put(str(data)) for key, data in keys.items()})
        except (ValueError, AttributeError) as fault:
            _log.warning("%s: not a file of this store (%s); starting empty", self._path, fault)
        self._written = self._store.lasting()

    def _write(self) -> None:
        lasting = self._store.lasting()
        if self._path is not None and lasting != self._written:
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(lasting), encoding="utf-8")
            new.replace(self._path)
        self._written = lasting


def _message(entries: list[Entry]) -> pb.StoreEntries:
    return pb.StoreEntries(
        entries=[
            pb.StoreEntry(key=entry.key, data=entry.data, gone=entry.data is None, revision=entry.revision)
            for entry in entries
        ]
    )
