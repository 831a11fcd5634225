"""The client of the embedded store: `store.port` over gRPC (see `store.store_server`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any

import grpc
from typing_extensions import override

from controllers.store.channels import ANSWER_TIMEOUT, aio_channel, no_answer, thread_channel
from controllers.store.lease_keepalive import KeepaliveFactory, LeaseKeepalive
from controllers.store.port import Entry, LeaseLost, Put, Store
from hoverboard.contract.wire import store_pb2 as pb
from hoverboard.contract.wire.store_pb2_grpc import StoreStub


class RemoteStore(Store):
    """A `port.Store` at the gRPC address of the process that holds the store.

    Args:
        keepalive: makes the object that keeps the leases alive.
    """

    def __init__(self, address: str, keepalive: KeepaliveFactory = LeaseKeepalive) -> None:
        self._address = address
        self._channel = aio_channel(address)
        self._stub: Any = StoreStub(self._channel)  # type: ignore[no-untyped-call]
        self._thread_channel = thread_channel(address)
        self._thread_stub: Any = StoreStub(self._thread_channel)  # type: ignore[no-untyped-call]
        self._keepalive = keepalive(self._keep)

    @override
    async def get(self, key: str) -> Entry | None:
        found = await self._call(self._stub.Get, pb.StoreQuery(key=key))
        return _entries(found)[0] if found.entries else None

    @override
    async def items(self, prefix: str) -> list[Entry]:
        return _entries(await self._call(self._stub.Get, pb.StoreQuery(key=prefix, prefix=True)))

    @override
    async def commit(self, expect: Mapping[str, int], put: Mapping[str, Put], delete: Iterable[str] = ()) -> int | None:
        request = pb.StoreCommit(
            expect=expect,
            put={key: pb.StorePut(data=write.data, lease=write.lease) for key, write in put.items()},
            delete=delete,
        )
        reply = await self._call(self._stub.Commit, request)
        if reply.lease_lost:
            raise LeaseLost("the lease is over", where=self._address, next_step="take a new lease")
        return int(reply.revision) or None

    @override
    async def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        call = self._stub.Watch(pb.StoreQuery(key=prefix, prefix=True))
        try:
            async for message in call:
                yield _entries(message)
        except grpc.aio.AioRpcError as error:
            raise no_answer(self._address, error) from error
        finally:
            call.cancel()

    @override
    async def lease(self, seconds: float, lost: Callable[[], None]) -> int:
        granted = await self._call(self._stub.Grant, pb.StoreLease(seconds=seconds))
        self._keepalive.add(granted.lease, seconds, lost)
        return int(granted.lease)

    @override
    async def revoke(self, lease: int) -> None:
        self._keepalive.remove(lease)
        await self._call(self._stub.Revoke, pb.StoreLease(lease=lease))

    @override
    async def close(self) -> None:
        self._keepalive.close()
        self._thread_channel.close()
        await self._channel.close(None)

    def _keep(self, lease: int) -> bool | None:
        try:
            return bool(self._thread_stub.Keep(pb.StoreLease(lease=lease), timeout=ANSWER_TIMEOUT).seconds)
        except (grpc.RpcError, ValueError):  # ValueError: the channel was closed meanwhile
            return None

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=ANSWER_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise no_answer(self._address, error) from error


def _entries(message: pb.StoreEntries) -> list[Entry]:
    return [Entry(one.key, None if one.gone else one.data, one.revision) for one in message.entries]
