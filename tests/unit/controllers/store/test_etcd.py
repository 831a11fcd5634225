"""The properties of the store in etcd alone: whole seconds, one root, and how its watches begin and end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.store import etcd
from controllers.store.etcd import EtcdStore
from controllers.store.port import Entry, Put, StoreError
from tests.unit.controllers.store.fake_etcd import FakeEtcd
from tests.unit.controllers.store.store_places import connection, ignore

_DEADLINE = 10.0  # seconds


def in_folder(story: Callable[[Path], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="hb") as folder:
        asyncio.run(asyncio.wait_for(story(Path(folder)), _DEADLINE))


def run(test: Callable[[FakeEtcd, EtcdStore], Coroutine[Any, Any, None]], root: str = "/hoverboard/") -> None:
    async def inside(folder: Path) -> None:
        member = FakeEtcd()
        server, socket = await member.start(folder)
        store = EtcdStore([socket], root)
        try:
            await test(member, store)
        finally:
            await store.close()
            await server.stop(grace=0)

    in_folder(inside)


def test_all_keys_stand_under_one_root() -> None:
    async def test(member: FakeEtcd, store: EtcdStore) -> None:
        await store.commit({"a/b": 0}, {"a/b": Put("1"), "a/c": Put("2")}, ["z"])
        assert [entry.key for entry in member.data.items("")] == ["/mine/a/b", "/mine/a/c"]
        member.data.commit({}, {"/other/a/b": Put("x"), "/mine": Put("x")})
        assert await store.items("") == [Entry("a/b", "1", 1), Entry("a/c", "2", 1)]

    run(test, "/mine/")


def test_a_lease_has_whole_seconds_and_at_least_one() -> None:
    async def test(member: FakeEtcd, store: EtcdStore) -> None:
        for seconds in (0.2, 1.0, 1.2, 3.0):
            await store.lease(seconds, ignore)
        assert member.granted == [1, 1, 2, 3]

    run(test)


def test_the_default_root_is_ours() -> None:
    async def inside(folder: Path) -> None:
        member = FakeEtcd()
        server, socket = await member.start(folder)
        store = EtcdStore([socket])
        await store.commit({}, {"a": Put("1")})
        assert [entry.key for entry in member.data.items("")] == ["/hoverboard/a"]
        await store.close()
        await server.stop(grace=0)

    in_folder(inside)


def test_no_change_is_lost_or_repeated_between_the_present_keys_and_the_beginning_of_a_watch() -> None:
    async def test(member: FakeEtcd, store: EtcdStore) -> None:
        await store.commit({}, {"w/a": Put("1")})
        member.before_watch = lambda: member.data.commit({}, {"/hoverboard/w/a": Put("2")})
        watch = store.watch("w/")
        assert await anext(watch) == [Entry("w/a", "1", 1)]
        assert await anext(watch) == [Entry("w/a", "2", 2)]
        await watch.aclose()

    run(test)


def test_a_watch_that_etcd_ends_says_why() -> None:
    async def test(member: FakeEtcd, store: EtcdStore) -> None:
        member.cancel = "required revision has been compacted"
        watch = store.watch("w/")
        assert await anext(watch) == []
        with pytest.raises(StoreError, match=r"cancelled: required revision has been compacted"):
            await anext(watch)

    run(test)


def test_a_watch_ends_its_call_when_it_is_left() -> None:
    async def test(member: FakeEtcd, store: EtcdStore) -> None:
        watch = store.watch("w/")
        await anext(watch)
        await watch.aclose()
        while member.watches:
            await asyncio.sleep(0.002)

    run(test)


def test_a_stream_that_ends_without_an_answer_says_nothing_of_a_lease() -> None:
    async def inside(folder: Path) -> None:
        member = FakeEtcd()
        server, socket = await member.start(folder)
        store, leases = connection(partial(EtcdStore, [socket]))
        lease = await store.lease(1.0, ignore)
        assert await leases.keep(lease) is True
        member.silent = True
        assert await leases.keep(lease) is None
        await store.close()
        await server.stop(grace=0)

    in_folder(inside)


class BrokenWatch:
    """A stub whose call had failed before anything was written to it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.cancelled = 0

    def Watch(self) -> BrokenWatch:
        return self

    async def write(self, request: object) -> None:
        raise asyncio.InvalidStateError("RPC already finished.")

    def cancel(self) -> None:
        self.cancelled += 1


def test_a_connection_that_breaks_before_the_watch_begins_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[BrokenWatch] = []

    def stub(channel: grpc.aio.Channel) -> BrokenWatch:
        made.append(BrokenWatch(channel))
        return made[-1]

    monkeypatch.setattr(etcd, "WatchStub", stub)

    async def test(member: FakeEtcd, store: EtcdStore) -> None:
        with pytest.raises(StoreError, match="the connection broke"):
            await anext(store.watch("w/"))
        assert [one.cancelled for one in made] == [1]

    run(test)
