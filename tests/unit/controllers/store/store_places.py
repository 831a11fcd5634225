"""Both adapters of the store over real gRPC: the embedded store on a Unix socket, and a fake member of etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc

from controllers.store.etcd import EtcdStore
from controllers.store.lease_keepalive import Keep
from controllers.store.port import Store
from controllers.store.remote import RemoteStore
from controllers.store.store_server import StoreServicer
from hoverboard.contract.wire.store_pb2_grpc import add_StoreServicer_to_server
from tests.unit.controllers.store.fake_etcd import FakeEtcd


class Leases:
    """Stands for the thread that keeps leases alive: the test keeps them itself.

    Attributes:
        keep: keeps one alive, as the thread would.
        kept: lease -> seconds, and what to call when it is lost.
    """

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self.kept: dict[int, tuple[float, Callable[[], None]]] = {}
        self.closed = False

    async def keep(self, lease: int) -> bool | None:
        return await asyncio.to_thread(self._keep, lease)

    def add(self, lease: int, seconds: float, lost: Callable[[], None]) -> None:
        self.kept[lease] = (seconds, lost)

    def remove(self, lease: int) -> None:
        self.kept.pop(lease, None)

    def close(self) -> None:
        self.closed = True


class Connection(NamedTuple):
    store: Store
    leases: Leases


def connection(make: Callable[..., Store]) -> Connection:
    """A connection whose leases the test keeps; `make` takes what keeps leases."""
    made: list[Leases] = []

    def keeper(keep: Keep) -> Leases:
        made.append(Leases(keep))
        return made[-1]

    return Connection(make(keepalive=keeper), made[0])


Connect = Callable[[], Connection]


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Connect]:
    servicer, server = StoreServicer(), grpc.aio.server()
    add_StoreServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"unix:{directory}/store.sock")
    await server.start()
    try:
        yield lambda: connection(partial(RemoteStore, f"unix:{directory}/store.sock"))
    finally:
        servicer.close()
        await server.stop(grace=0)


@asynccontextmanager
async def etcd(directory: Path) -> AsyncIterator[Connect]:
    server, socket = await FakeEtcd().start(directory)
    try:
        # The first member is away: any that answers will do.
        yield lambda: connection(partial(EtcdStore, ["/nowhere/etcd-1.client:0", socket]))
    finally:
        await server.stop(grace=0)


Place = Callable[[Path], AbstractAsyncContextManager[Connect]]


def ignore() -> None:
    """Ignore the loss of a lease."""
