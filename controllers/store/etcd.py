"""The store in etcd: `store.port` over etcd's gRPC API, version 3.

Revisions and leases are etcd's. A lease has whole seconds, and etcd checks twice a second for leases that have ended.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from typing_extensions import override

from controllers.store.channels import ANSWER_TIMEOUT, aio_channel, no_answer, thread_channel
from controllers.store.lease_keepalive import KeepaliveFactory, LeaseKeepalive
from controllers.store.port import Entry, LeaseLost, Put, Store
from hoverboard.contract.wire import etcd_pb2 as pb
from hoverboard.contract.wire.etcd_pb2_grpc import KVStub, LeaseStub, WatchStub

_NO_LEASE = "lease not found"


class EtcdStore(Store):
    """A `port.Store` in etcd.

    Args:
        members: paths of the members' Unix sockets for clients; one that answers is enough.
        root: prefix of every key.
        keepalive: makes the object that keeps the leases alive.
    """

    def __init__(
        self, members: Sequence[str], root: str = "/hoverboard/", keepalive: KeepaliveFactory = LeaseKeepalive
    ) -> None:
        self._address = f"unix:{','.join(members)}"
        self._root = root
        self._channel = aio_channel(self._address)
        self._kv: Any = KVStub(self._channel)  # type: ignore[no-untyped-call]
        self._watch: Any = WatchStub(self._channel)  # type: ignore[no-untyped-call]
        self._lease: Any = LeaseStub(self._channel)  # type: ignore[no-untyped-call]
        self._thread_channel = thread_channel(self._address)
        self._thread_lease: Any = LeaseStub(self._thread_channel)  # type: ignore[no-untyped-call]
        self._keepalive = keepalive(self._keep)

    @override
    async def get(self, key: str) -> Entry | None:
        reply = await self._call(self._kv.Range, pb.RangeRequest(key=self._key(key)))
        return self._entry(reply.kvs[0]) if reply.kvs else None

    @override
    async def items(self, prefix: str) -> list[Entry]:
        reply = await self._range(prefix)
        return [self._entry(one) for one in reply.kvs]

    @override
    async def commit(self, expect: Mapping[str, int], put: Mapping[str, Put], delete: Iterable[str] = ()) -> int | None:
        request = pb.TxnRequest(
            compare=[
                pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=self._key(key), mod_revision=revision)
                for key, revision in expect.items()
            ],
            success=[
                *(
                    pb.RequestOp(
                        request_put=pb.PutRequest(key=self._key(key), value=write.data.encode(), lease=write.lease)
                    )
                    for key, write in put.items()
                ),
                *(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=self._key(key))) for key in delete),
            ],
        )
        reply = await self._call(self._kv.Txn, request)
        return int(reply.header.revision) if reply.succeeded else None

    @override
    async def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        now = await self._range(prefix)
        create = pb.WatchCreateRequest(
            key=self._key(prefix), range_end=_end(self._key(prefix)), start_revision=now.header.revision + 1
        )
        call = self._watch.Watch()
        try:
            await call.write(pb.WatchRequest(create_request=create))
            yield [self._entry(one) for one in now.kvs]
            async for reply in call:
                if reply.canceled:
                    raise no_answer(self._address, _Cancelled(reply.cancel_reason))
                if reply.events:
                    yield [self._event(event) for event in reply.events]
        except grpc.aio.AioRpcError as error:
            raise no_answer(self._address, error) from error
        except asyncio.InvalidStateError as error:  # a write after the call had failed
            raise no_answer(self._address, _Cancelled("the connection broke")) from error
        finally:
            call.cancel()

    @override
    async def lease(self, seconds: float, lost: Callable[[], None]) -> int:
        granted = await self._call(self._lease.LeaseGrant, pb.LeaseGrantRequest(TTL=max(1, math.ceil(seconds))))
        self._keepalive.add(granted.ID, float(granted.TTL), lost)
        return int(granted.ID)

    @override
    async def revoke(self, lease: int) -> None:
        self._keepalive.remove(lease)
        try:
            await self._call(self._lease.LeaseRevoke, pb.LeaseRevokeRequest(ID=lease))
        except LeaseLost:
            return  # the lease has ended already

    @override
    async def close(self) -> None:
        self._keepalive.close()
        self._thread_channel.close()
        await self._channel.close(None)

    def _keep(self, lease: int) -> bool | None:
        try:
            replies = self._thread_lease.LeaseKeepAlive(
                iter([pb.LeaseKeepAliveRequest(ID=lease)]), timeout=ANSWER_TIMEOUT
            )
            for reply in replies:
                return bool(reply.TTL > 0)
            return None
        except (grpc.RpcError, ValueError):  # ValueError: the channel was closed meanwhile
            return None

    async def _range(self, prefix: str) -> Any:
        key = self._key(prefix)
        return await self._call(self._kv.Range, pb.RangeRequest(key=key, range_end=_end(key)))

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=ANSWER_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if _NO_LEASE in str(error.details()):
                raise LeaseLost("the lease is over", where=self._address, next_step="take a new lease") from error
            raise no_answer(self._address, error) from error

    def _key(self, key: str) -> bytes:
        return (self._root + key).encode()

    def _name(self, key: bytes) -> str:
        return _text(key).removeprefix(self._root)

    def _entry(self, one: pb.KeyValue) -> Entry:
        return Entry(self._name(one.key), _text(one.value), one.mod_revision)

    def _event(self, event: pb.Event) -> Entry:
        gone = event.type == pb.Event.DELETE
        return Entry(self._name(event.kv.key), None if gone else _text(event.kv.value), event.kv.mod_revision)


class _Cancelled:
    """The error that `no_answer` needs, for a watch that the server cancelled."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        """The server's reason."""
        return self._reason


def _text(data: bytes) -> str:
    """Keys and values that others wrote need not be UTF-8; who reads them ignores what makes no sense."""
    return data.decode(errors="replace")


def _end(prefix: bytes) -> bytes:
    """The first key after all keys that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
