"""The store's contract, held against both adapters over real gRPC: the embedded store and a fake member of etcd."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.store import remote
from controllers.store.etcd import EtcdStore
from controllers.store.port import Entry, LeaseLost, Put, Store, StoreError
from controllers.store.remote import RemoteStore
from hoverboard.contract.wire import store_pb2 as pb
from tests.unit.controllers.store.store_places import Connection, Place, embedded, etcd, ignore
from tests.waiting import until_async

_DEADLINE = 10.0  # seconds
Use = Callable[[Callable[..., Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[embedded, etcd], ids=["embedded", "etcd"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def use(place: Place) -> Iterator[Use]:
    """use(test): runs the test's coroutine with two connections to one store."""
    with tempfile.TemporaryDirectory(prefix="hb") as directory:

        def run(test: Callable[..., Coroutine[Any, Any, None]]) -> None:
            async def inside() -> None:
                async with asyncio.timeout(_DEADLINE), place(Path(directory)) as connect:
                    one, two = connect(), connect()
                    try:
                        await test(one, two)
                    finally:
                        await one.store.close()
                        await two.store.close()

            asyncio.run(inside())

        yield run


async def collect(store: Store, prefix: str, into: list[list[Entry]]) -> None:
    async for entries in store.watch(prefix):
        into.append(entries)


def test_revisions_and_conditional_writes(use: Use) -> None:
    async def test(here: Connection, there: Connection) -> None:
        one, two = here.store, there.store
        assert await one.get("a/1") is None
        first = await one.commit({"a/1": 0}, {"a/1": Put("x")})
        assert first is not None
        assert await two.get("a/1") == Entry("a/1", "x", first)
        assert await two.commit({"a/1": 0}, {"a/1": Put("y")}) is None
        assert await two.commit({"a/1": first + 1}, {"a/1": Put("y")}) is None
        second = await two.commit({"a/1": first, "a/2": 0}, {"a/1": Put("y"), "a/2": Put("z"), "a0": Put("")})
        assert second is not None
        assert second > first
        assert await one.items("a/") == [Entry("a/1", "y", second), Entry("a/2", "z", second)]
        assert await one.items("b/") == []
        assert await one.get("a/") is None
        assert await one.get("a0") == Entry("a0", "", second)
        # All or nothing: one wrong revision and neither is written.
        assert await one.commit({"a/1": second, "a/2": first}, {"a/1": Put("no"), "a/3": Put("no")}) is None
        assert [entry.data for entry in await two.items("a/")] == ["y", "z"]
        third = await one.commit({"a/1": second}, {"a/2": Put("new")}, ["a/1", "a/never"])
        assert third == second + 1
        assert await two.items("a/") == [Entry("a/2", "new", third)]

    use(test)


def test_a_watch_sends_the_present_keys_and_then_every_change_in_order(use: Use) -> None:
    async def test(here: Connection, there: Connection) -> None:
        writer, reader = here.store, there.store
        await writer.commit({}, {"w/old": Put("1"), "v/other": Put("1"), "w0": Put("1")})
        seen: list[list[Entry]] = []
        watching = asyncio.ensure_future(collect(reader, "w/", seen))
        await until_async(lambda: seen)
        assert seen[0] == [Entry("w/old", "1", 1)]
        await writer.commit({}, {"w0": Put("2")})
        await writer.commit({}, {"w/a": Put("3"), "w/b": Put(""), "v/other": Put("3")})
        await writer.commit({}, {"w/a": Put("4")}, ["w/old"])
        await until_async(lambda: len(seen) == 3)
        assert sorted(seen[1], key=lambda entry: entry.key) == [Entry("w/a", "3", 3), Entry("w/b", "", 3)]
        assert seen[2] == [Entry("w/a", "4", 4), Entry("w/old", None, 4)]
        watching.cancel()

    use(test)


def test_a_watch_without_keys_sends_an_empty_list_at_once(use: Use) -> None:
    async def test(here: Connection, there: Connection) -> None:
        watch = here.store.watch("none/")
        assert await anext(watch) == []
        await watch.aclose()

    use(test)


def test_keys_of_a_lease_go_when_it_is_revoked_and_nothing_can_be_put_under_it(use: Use) -> None:
    async def test(here: Connection, there: Connection) -> None:
        one, two = here.store, there.store
        lease, other = await one.lease(1.0, ignore), await two.lease(1.0, ignore)
        assert lease != other
        await one.commit({}, {"l/mine": Put("1", lease), "l/theirs": Put("1", other), "l/stays": Put("1")})
        await one.revoke(lease)
        assert [entry.key for entry in await two.items("l/")] == ["l/stays", "l/theirs"]
        with pytest.raises(LeaseLost, match="the lease is over") as lost:
            await one.commit({}, {"l/stays": Put("2"), "l/late": Put("1", lease)})
        assert lost.value.next_step == "take a new lease"
        assert [entry.data for entry in await two.items("l/")] == ["1", "1"]
        await one.revoke(lease)  # it was over: as wished

    use(test)


def test_a_lease_is_kept_alive_until_it_is_revoked_and_its_keeper_ends_with_the_connection(use: Use) -> None:
    async def test(here: Connection, there: Connection) -> None:
        lost: list[str] = []
        lease = await here.store.lease(1.0, lambda: lost.append("lost"))
        ((known, (seconds, tell)),) = here.leases.kept.items()
        assert (known, seconds) == (lease, 1.0)
        tell()
        assert lost == ["lost"]
        assert await here.leases.keep(lease) is True
        await there.store.revoke(lease)  # by another client
        assert await here.leases.keep(lease) is False
        await here.store.revoke(lease)
        assert here.leases.kept == {}
        assert not here.leases.closed
        await here.store.close()
        assert here.leases.closed
        assert await here.leases.keep(lease) is None  # a turn that was under way

    use(test)


def test_while_the_store_does_not_answer_nothing_is_known_of_a_lease(place: Place, tmp_path: Path) -> None:
    async def inside() -> None:
        async with place(tmp_path) as connect:
            store, leases = connect()
            lease = await store.lease(1.0, ignore)
        assert await leases.keep(lease) is None
        await store.close()

    asyncio.run(asyncio.wait_for(inside(), _DEADLINE))


def test_the_real_keeper_keeps_leases_alive(tmp_path: Path) -> None:
    async def inside() -> None:
        async with embedded(tmp_path) as connect:
            other = connect().store
            store, lost = RemoteStore(f"unix:{tmp_path}/store.sock"), []
            lease = await store.lease(1.0, lambda: lost.append("lost"))
            await other.revoke(lease)
            await until_async(lambda: lost)
            await store.close()
            await other.close()

    asyncio.run(asyncio.wait_for(inside(), _DEADLINE))


@pytest.mark.parametrize(
    "connect",
    [lambda at: RemoteStore(f"unix:{at}/none.sock"), lambda at: EtcdStore([f"{at}/none.sock"])],
    ids=["embedded", "etcd"],
)
def test_a_store_that_is_not_there_is_a_store_error_that_says_where_it_was_looked_for(
    connect: Callable[[Path], Store], tmp_path: Path
) -> None:
    async def inside() -> None:
        store = connect(tmp_path)
        asking = (store.get("a"), store.items("a"), store.commit({}, {}), store.lease(1.0, ignore), store.revoke(1))
        for asked in asking:
            with pytest.raises(StoreError, match=r"the store does not answer \(unavailable: ") as failed:
                await asked
            assert not isinstance(failed.value, LeaseLost)
            assert failed.value.where == f"unix:{tmp_path}/none.sock"
            assert failed.value.next_step == "check that its process runs, and read its log"
        with pytest.raises(StoreError, match="the store does not answer"):
            await anext(store.watch("a"))
        await store.close()

    asyncio.run(asyncio.wait_for(inside(), _DEADLINE))


def test_a_watch_whose_server_ends_is_a_store_error(place: Place, tmp_path: Path) -> None:
    async def inside() -> None:
        async with place(tmp_path) as connect:
            store = connect().store
            watch = store.watch("a")
            assert await anext(watch) == []
        with pytest.raises(StoreError, match="the store does not answer"):
            await anext(watch)
        await store.close()

    asyncio.run(asyncio.wait_for(inside(), _DEADLINE))


def test_a_connection_that_is_closed_ends_its_watches(use: Use) -> None:
    async def test(here: Connection, there: Connection) -> None:
        watch = here.store.watch("a")
        assert await anext(watch) == []
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await here.store.close()
        await asyncio.wait({waiting})
        assert waiting.cancelled() or isinstance(waiting.exception(), StoreError)

    use(test)


class RecordedWatch:
    """A stub, and the one call that is made of it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.requests: list[pb.StoreQuery] = []
        self.cancelled = 0

    def Watch(self, request: pb.StoreQuery) -> RecordedWatch:
        self.requests.append(request)
        return self

    def __aiter__(self) -> AsyncIterator[pb.StoreEntries]:
        async def told() -> AsyncGenerator[pb.StoreEntries, None]:
            yield pb.StoreEntries()

        return told()

    def cancel(self) -> None:
        self.cancelled += 1


def test_a_watch_asks_for_all_keys_with_its_beginning_and_ends_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RecordedWatch] = []

    def stub(channel: grpc.aio.Channel) -> RecordedWatch:
        made.append(RecordedWatch(channel))
        return made[-1]

    monkeypatch.setattr(remote, "StoreStub", stub)

    async def inside() -> None:
        store = RemoteStore("unix:/nowhere")
        watch = store.watch("w/")
        await anext(watch)
        await watch.aclose()
        assert (made[0].requests, made[0].cancelled) == ([pb.StoreQuery(key="w/", prefix=True)], 1)
        await store.close()

    asyncio.run(inside())


def test_a_store_that_takes_requests_and_answers_none_is_waited_for_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote, "ANSWER_TIMEOUT", 0.03)

    async def inside() -> None:
        store = RemoteStore(f"unix:{tmp_path}/store.sock")
        with pytest.raises(StoreError, match=r"the store does not answer \(deadline exceeded"):
            await store.get("a")
        await store.close()

    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "store.sock"))
        deaf.listen()
        asyncio.run(asyncio.wait_for(inside(), _DEADLINE))
