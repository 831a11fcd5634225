"""The embedded store's service without a socket: what its calls answer, its clock, and its file."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.store import store_server
from controllers.store.memory import MemoryStore, Watcher
from controllers.store.store_server import StoreServicer
from hoverboard.contract.wire import store_pb2 as pb
from tests.unit.controllers.virtual_time import VirtualTimeLoop, run


class Aborted(Exception):
    """The call was ended with this status."""


class Context:
    """A gRPC context of a test."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code.name, details)


def serve(test: Callable[[StoreServicer], Coroutine[Any, Any, None]], path: Path | None = None) -> None:
    async def inside() -> None:
        servicer = StoreServicer(path)
        try:
            await test(servicer)
        finally:
            servicer.close()

    run(inside)


async def put(store: StoreServicer, lease: int = 0, **keys: str) -> pb.StoreCommitted:
    writes = {key: pb.StorePut(data=data, lease=lease) for key, data in keys.items()}
    return await store.Commit(pb.StoreCommit(put=writes), None)


async def keys(store: StoreServicer, prefix: str = "") -> list[str]:
    return [entry.key for entry in (await store.Get(pb.StoreQuery(key=prefix, prefix=True), None)).entries]


async def told(stream: AsyncIterator[pb.StoreEntries]) -> list[pb.StoreEntry]:
    return list((await anext(stream)).entries)


def test_keys_are_written_and_read() -> None:
    async def test(store: StoreServicer) -> None:
        assert (await put(store, ab="1", a="2")).revision == 1
        assert await store.Get(pb.StoreQuery(key="a"), None) == pb.StoreEntries(
            entries=[pb.StoreEntry(key="a", data="2", revision=1)]
        )
        assert list((await store.Get(pb.StoreQuery(key="b"), None)).entries) == []
        assert await keys(store, "a") == ["a", "ab"]

    serve(test)


def test_a_write_says_its_revision_or_that_something_was_not_as_expected_or_the_lease_is_over() -> None:
    async def test(store: StoreServicer) -> None:
        refused = pb.StoreCommit(expect={"a": 3}, put={"a": pb.StorePut(data="1")})
        assert await store.Commit(refused, None) == pb.StoreCommitted(revision=0)
        assert await put(store, 12345, a="1") == pb.StoreCommitted(lease_lost=True)
        assert await put(store, a="1") == pb.StoreCommitted(revision=1)
        removal = pb.StoreCommit(expect={"a": 1}, delete=["a"])
        assert await store.Commit(removal, None) == pb.StoreCommitted(revision=2)
        assert await keys(store) == []

    serve(test)


def test_a_watch_sends_the_present_keys_then_each_change() -> None:
    async def test(store: StoreServicer) -> None:
        await put(store, a="1", b="1")
        stream = store.Watch(pb.StoreQuery(key="a"), Context())
        assert await told(stream) == [pb.StoreEntry(key="a", data="1", revision=1)]
        await store.Commit(pb.StoreCommit(put={"ab": pb.StorePut(data="2")}, delete=["a"]), None)
        assert await told(stream) == [
            pb.StoreEntry(key="ab", data="2", revision=2),
            pb.StoreEntry(key="a", gone=True, revision=2),
        ]
        await stream.aclose()  # type: ignore[attr-defined]

    serve(test)


def test_no_changes_are_kept_for_an_ended_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    watching: list[object] = []

    class Watched(MemoryStore):
        def watch(self, prefix: str, watcher: Watcher) -> object:
            watching.append(super().watch(prefix, watcher))
            return watching[-1]

        def unwatch(self, token: object) -> None:
            watching.remove(token)
            super().unwatch(token)

    monkeypatch.setattr(store_server, "MemoryStore", Watched)

    async def test(store: StoreServicer) -> None:
        stream = store.Watch(pb.StoreQuery(key="a"), Context())
        await told(stream)
        assert len(watching) == 1
        await stream.aclose()  # type: ignore[attr-defined]
        assert watching == []

    serve(test)


@pytest.mark.parametrize(("changes", "cut"), [(1000, False), (1001, True)])
def test_a_watcher_that_is_too_slow_is_cut_off(changes: int, cut: bool) -> None:
    async def test(store: StoreServicer) -> None:
        stream = store.Watch(pb.StoreQuery(key=""), Context())
        await told(stream)
        for number in range(changes):
            await put(store, a=str(number))
        if cut:
            with pytest.raises(Aborted) as aborted:
                await told(stream)
            assert aborted.value.args[0] == "RESOURCE_EXHAUSTED"
        else:
            await told(stream)
        await stream.aclose()  # type: ignore[attr-defined]

    serve(test)


def test_a_lease_lasts_as_long_as_it_is_kept_alive() -> None:
    async def test(store: StoreServicer) -> None:
        granted = await store.Grant(pb.StoreLease(seconds=1.0), None)
        assert granted.seconds == 1.0
        await put(store, granted.lease, a="1")
        for _ in range(10):
            await asyncio.sleep(0.9)
            assert (await store.Keep(granted, None)).seconds > 0
        assert await keys(store) == ["a"]
        await asyncio.sleep(0.9)
        assert await keys(store) == ["a"]
        await asyncio.sleep(0.2)
        assert await keys(store) == []
        assert await store.Keep(granted, None) == pb.StoreLease(lease=granted.lease, seconds=0.0)

    serve(test)


def test_a_lease_that_is_revoked_is_over_at_once() -> None:
    async def test(store: StoreServicer) -> None:
        granted = await store.Grant(pb.StoreLease(seconds=1.0), None)
        await put(store, granted.lease, a="1")
        assert await store.Revoke(granted, None) == pb.StoreNothing()
        assert await keys(store) == []

    serve(test)


def test_leases_of_two_lives_of_a_store_have_different_numbers() -> None:
    async def test(store: StoreServicer) -> None:
        other = StoreServicer()
        first, second = [await one.Grant(pb.StoreLease(seconds=1.0), None) for one in (store, other)]
        assert first.lease != second.lease
        assert first.lease > 0
        other.close()

    serve(test)


@pytest.mark.parametrize(("stood", "kept"), [(0.17, False), (0.19, True), (30.0, True)])
def test_time_for_which_the_process_itself_stood_still_ends_no_lease(stood: float, kept: bool) -> None:
    async def test(store: StoreServicer) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        granted = await store.Grant(pb.StoreLease(seconds=1.0), None)
        await put(store, granted.lease, a="1")
        await asyncio.sleep(0.92)
        loop.now += stood  # nothing ran meanwhile, and renewals wait in the sockets
        await asyncio.sleep(0.01)
        assert (await keys(store) == ["a"]) is kept
        await asyncio.sleep(0.9)
        assert await keys(store) == []

    serve(test)


def test_a_store_that_is_closed_ends_no_lease_any_more() -> None:
    async def test(store: StoreServicer) -> None:
        granted = await store.Grant(pb.StoreLease(seconds=1.0), None)
        await put(store, granted.lease, a="1")
        store.close()
        await asyncio.sleep(5.0)
        assert await keys(store) == ["a"]

    serve(test)


def test_what_no_lease_holds_outlives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store.json"

    async def first(store: StoreServicer) -> None:
        granted = await store.Grant(pb.StoreLease(seconds=1.0), None)
        await put(store, granted.lease, master="me")
        assert not path.exists()  # nothing that lasts
        await put(store, term="7", other="x")
        await store.Commit(pb.StoreCommit(delete=["other"]), None)

    async def second(store: StoreServicer) -> None:
        assert await keys(store) == ["term"]
        assert (await store.Get(pb.StoreQuery(key="term"), None)).entries[0].data == "7"

    serve(first, path)
    assert json.loads(path.read_text()) == {"term": "7"}
    serve(second, path)
    assert [one.name for one in tmp_path.iterdir()] == ["store.json"]


def test_the_file_is_written_only_when_what_lasts_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "store.json"

    async def test(store: StoreServicer) -> None:
        await put(store, term="7")
        path.unlink()
        granted = await store.Grant(pb.StoreLease(seconds=1.0), None)
        await put(store, granted.lease, master="me")
        await put(store, term="7")
        assert not path.exists()
        await put(store, term="8")
        assert json.loads(path.read_text()) == {"term": "8"}

    serve(test, path)

    async def again(store: StoreServicer) -> None:
        path.unlink()
        await put(store, term="8")
        assert not path.exists()

    serve(again, path)


@pytest.mark.parametrize("text", ["{", "[]", "7", b"\xff"])
def test_a_foreign_file_is_ignored_with_a_warning(
    text: str | bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    async def test(store: StoreServicer) -> None:
        assert await keys(store) == []
        await put(store, term="1")
        assert json.loads(path.read_text()) == {"term": "1"}

    with caplog.at_level(logging.WARNING, logger="controllers.store.store_server"):
        serve(test, path)
    assert "not a file of this store" in caplog.text
