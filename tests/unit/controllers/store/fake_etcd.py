"""The part of an etcd member that `store.etcd` uses, over `MemoryStore`, as etcd's documentation describes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc

from controllers.store.memory import MemoryStore
from controllers.store.port import Entry, LeaseLost, Put
from hoverboard.contract.wire import etcd_pb2 as pb
from hoverboard.contract.wire.etcd_pb2_grpc import (
    add_KVServicer_to_server,
    add_LeaseServicer_to_server,
    add_WatchServicer_to_server,
)

START = 1_000_003.0
_FIRST_LEASE = 7_587_869_134_178_263_041


class FakeEtcd:
    """One member.

    Attributes:
        data: keys and leases; nothing ends by itself.
        granted: seconds of each lease that was asked for.
        silent: streams that keep leases alive end without an answer.
        before_watch: called between the request for a watch and its beginning.
        watches: streams that are open.
        cancel: why every watch is ended, "": none is.
    """

    def __init__(self) -> None:
        self.data = MemoryStore(_FIRST_LEASE)
        self.granted: list[int] = []
        self.silent = False
        self.before_watch: Callable[[], object] = lambda: None
        self.watches = 0
        self.cancel = ""
        self._history: list[Entry] = []
        self._changed = asyncio.Condition()
        self.data.watch("", self._history.extend)

    async def start(self, folder: Path) -> tuple[grpc.aio.Server, str]:
        """Serve on a Unix socket in the folder; return the server and the socket's path."""
        server = grpc.aio.server()
        add_KVServicer_to_server(self, server)  # type: ignore[no-untyped-call]
        add_WatchServicer_to_server(self, server)  # type: ignore[no-untyped-call]
        add_LeaseServicer_to_server(self, server)  # type: ignore[no-untyped-call]
        socket = f"{folder}/etcd-0.client:0"
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        return server, socket

    # --- KV ---------------------------------------------------------------------------------------------

    async def Range(self, request: pb.RangeRequest, context: Any) -> pb.RangeResponse:
        found = [entry for entry in self.data.items("") if _within(entry.key.encode(), request.key, request.range_end)]
        return pb.RangeResponse(header=self._header(), kvs=[_pair(entry) for entry in found])

    async def Txn(self, request: pb.TxnRequest, context: Any) -> pb.TxnResponse:
        expect = {}
        for one in request.compare:
            assert (one.result, one.target) == (pb.Compare.EQUAL, pb.Compare.MOD)
            expect[one.key.decode()] = one.mod_revision
        put, delete = {}, []
        for operation in request.success:
            if operation.WhichOneof("request") == "request_put":
                one = operation.request_put
                put[one.key.decode()] = Put(one.value.decode(), one.lease)
            else:
                delete.append(operation.request_delete_range.key.decode())
        try:
            revision = self.data.commit(expect, put, delete)
        except LeaseLost:
            await context.abort(grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
        async with self._changed:
            self._changed.notify_all()
        return pb.TxnResponse(header=self._header(), succeeded=revision is not None)

    # --- Watch ------------------------------------------------------------------------------------------

    async def Watch(self, requests: AsyncIterator[pb.WatchRequest], context: Any) -> AsyncIterator[pb.WatchResponse]:
        create = (await anext(aiter(requests))).create_request
        self.before_watch()
        self.watches += 1
        try:
            async for response in self._watch(create):
                yield response
        finally:
            self.watches -= 1

    async def _watch(self, create: pb.WatchCreateRequest) -> AsyncIterator[pb.WatchResponse]:
        yield pb.WatchResponse(header=self._header(), created=True)
        told = create.start_revision - 1
        while True:
            news = [entry for entry in self._history if entry.revision > told]
            told = self.data.revision
            news = [entry for entry in news if _within(entry.key.encode(), create.key, create.range_end)]
            for revision in sorted({entry.revision for entry in news}):
                events = [_event(entry) for entry in news if entry.revision == revision]
                yield pb.WatchResponse(header=self._header(), events=events)
            if self.cancel:
                yield pb.WatchResponse(header=self._header(), canceled=True, cancel_reason=self.cancel)
                return
            async with self._changed:
                await self._changed.wait()

    # --- Lease ------------------------------------------------------------------------------------------

    async def LeaseGrant(self, request: pb.LeaseGrantRequest, context: Any) -> pb.LeaseGrantResponse:
        self.granted.append(request.TTL)
        return pb.LeaseGrantResponse(ID=self.data.grant(request.TTL, START), TTL=request.TTL)

    async def LeaseRevoke(self, request: pb.LeaseRevokeRequest, context: Any) -> pb.LeaseRevokeResponse:
        if not self.data.keep(request.ID, START):
            await context.abort(grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
        self.data.revoke(request.ID)
        return pb.LeaseRevokeResponse()

    async def LeaseKeepAlive(
        self, requests: AsyncIterator[pb.LeaseKeepAliveRequest], context: Any
    ) -> AsyncIterator[pb.LeaseKeepAliveResponse]:
        async for request in requests:
            if self.silent:
                return
            alive = self.data.keep(request.ID, START)
            yield pb.LeaseKeepAliveResponse(ID=request.ID, TTL=int(alive))

    def _header(self) -> pb.ResponseHeader:
        return pb.ResponseHeader(revision=self.data.revision)


def _within(key: bytes, first: bytes, end: bytes) -> bool:
    """etcd's ranges: one key without an end, else all from the first up to the end, which is not in it."""
    return first <= key < end if end else key == first


def _pair(entry: Entry) -> pb.KeyValue:
    return pb.KeyValue(key=entry.key.encode(), value=str(entry.data).encode(), mod_revision=entry.revision)


def _event(entry: Entry) -> pb.Event:
    if entry.data is None:
        return pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=entry.key.encode(), mod_revision=entry.revision))
    return pb.Event(type=pb.Event.PUT, kv=_pair(entry))
