"""The store's contract, held against both adapters: embedded (over its socket) and etcd (a member of its own)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.election.candidacy import Candidacy
from controllers.election.election import Election
from controllers.store.etcd import EtcdStore
from controllers.store.port import Entry, LeaseLost, Put, Store, StoreError
from controllers.store.remote import RemoteStore
from controllers.store.store_server import StoreServicer
from hoverboard.contract.wire import store_pb2_grpc
from tests.system.control_plane.control_plane_rig import end
from tests.waiting import until_async
from topologies.cluster import etcd_members

Use = Callable[[Callable[["Place"], Coroutine[Any, Any, None]]], None]


class Place:
    """Where a store is; `connect` gives a client of its own, `restart` ends the store and starts it again."""

    def __init__(self, connect: Callable[[], Store], restart: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._connect = connect
        self.restart = restart
        self.stores: list[Store] = []

    def connect(self) -> Store:
        store = self._connect()
        self.stores.append(store)
        return store


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Place]:
    address = f"unix:{directory}/store.sock"
    serving: list[tuple[grpc.aio.Server, StoreServicer]] = []

    async def start() -> None:
        servicer = StoreServicer(directory / "store.json")
        server = grpc.aio.server()
        store_pb2_grpc.add_StoreServicer_to_server(servicer, server)
        server.add_insecure_port(address)
        await server.start()
        serving.append((server, servicer))

    async def stop() -> None:
        server, servicer = serving.pop()
        servicer.close()
        await server.stop(grace=0)

    async def restart() -> None:
        await stop()
        await start()

    await start()
    place = Place(lambda: RemoteStore(address), restart)
    yield place
    for store in place.stores:
        await store.close()
    await stop()


@asynccontextmanager
async def members(directory: Path) -> AsyncIterator[Place]:
    (member,) = etcd_members.members_in(directory, 1)
    log = (directory / "etcd.log").open("ab")
    running: list[subprocess.Popen[bytes]] = []

    async def start() -> None:
        running.append(subprocess.Popen(etcd_members.command(member, [member]), stdout=log, stderr=log))
        store = EtcdStore([member.address])
        async with asyncio.timeout(20):
            while True:
                try:
                    await store.get("ready")
                    break
                except StoreError:
                    await asyncio.sleep(0.02)
        await store.close()

    async def restart() -> None:
        process = running.pop()
        process.kill()
        process.wait(5)
        await start()

    await start()
    place = Place(lambda: EtcdStore([member.address]), restart)
    yield place
    for store in place.stores:
        await store.close()
    end(running.pop())
    log.close()


@pytest.fixture(params=["embedded", "etcd"])
def use(request: pytest.FixtureRequest) -> Iterator[Use]:
    """use(test): runs the test's coroutine with a store."""
    if request.param == "etcd" and shutil.which(etcd_members.PROGRAM) is None:
        pytest.skip("there is no etcd here: apt-get install etcd-server (bootstrap.sh test does)")
    directory = Path(tempfile.mkdtemp(prefix="hb", dir="/tmp"))
    kind = embedded if request.param == "embedded" else members

    def run(test: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
        async def inside() -> None:
            async with kind(directory) as place, asyncio.timeout(40):
                await test(place)

        asyncio.run(inside())

    yield run
    shutil.rmtree(directory)


def nobody() -> None:
    """For leases whose loss is not looked at."""


async def collect(store: Store, prefix: str, into: list[list[Entry]]) -> None:
    async for entries in store.watch(prefix):
        into.append(entries)


def test_revisions_and_conditional_writes(use: Use) -> None:
    async def test(place: Place) -> None:
        one, two = place.connect(), place.connect()
        assert await one.get("a/1") is None
        first = await one.commit({"a/1": 0}, {"a/1": Put("x")})
        assert first is not None
        assert await two.get("a/1") == Entry("a/1", "x", first)
        assert await two.commit({"a/1": 0}, {"a/1": Put("y")}) is None
        assert await two.commit({"a/1": first + 1}, {"a/1": Put("y")}) is None
        second = await two.commit({"a/1": first, "a/2": 0}, {"a/1": Put("y"), "a/2": Put("z")})
        assert second is not None
        assert second > first
        assert await one.items("a/") == [Entry("a/1", "y", second), Entry("a/2", "z", second)]
        assert await one.items("b/") == []
        # All or nothing: one wrong revision and neither is written.
        assert await one.commit({"a/1": second, "a/2": first}, {"a/1": Put("no"), "a/3": Put("no")}) is None
        assert [entry.data for entry in await two.items("a/")] == ["y", "z"]
        assert await one.commit({"a/1": second}, {}, ["a/1"]) is not None
        assert [entry.key for entry in await two.items("a/")] == ["a/2"]

    use(test)


def test_a_watch_sends_the_present_keys_and_then_every_change_in_order(use: Use) -> None:
    async def test(place: Place) -> None:
        writer, reader = place.connect(), place.connect()
        await writer.commit({}, {"w/old": Put("1"), "v/other": Put("1")})
        seen: list[list[Entry]] = []
        watching = asyncio.ensure_future(collect(reader, "w/", seen))
        await until_async(lambda: seen)
        assert [(entry.key, entry.data) for entry in seen[0]] == [("w/old", "1")]
        for number in range(20):
            await writer.commit({}, {"w/n": Put(str(number)), "v/other": Put("x")})
        await writer.commit({}, {}, ["w/old"])
        await until_async(lambda: sum(map(len, seen)) == 22)
        changes = [entry for entries in seen[1:] for entry in entries]
        assert [entry.data for entry in changes] == [*map(str, range(20)), None]
        assert [entry.revision for entry in changes] == sorted({entry.revision for entry in changes})
        watching.cancel()

    use(test)


def test_keys_of_a_lease_go_with_it(use: Use) -> None:
    async def test(place: Place) -> None:
        keeping, other = place.connect(), place.connect()
        lost: list[str] = []
        lease = await keeping.lease(1.0, lambda: lost.append("kept"))
        await keeping.commit({}, {"l/kept": Put("1", lease)})
        dying = place.connect()
        dead = await dying.lease(1.0, nobody)
        await dying.commit({}, {"l/dead": Put("1", dead)})
        seen: list[list[Entry]] = []
        watching = asyncio.ensure_future(collect(other, "l/", seen))
        await until_async(lambda: seen)
        before = asyncio.get_running_loop().time()
        await dying.close()  # nobody keeps its lease alive any more
        await until_async(lambda: len(seen) > 1)
        assert 0.5 < asyncio.get_running_loop().time() - before < 4.0
        assert [(entry.key, entry.data) for entry in seen[1]] == [("l/dead", None)]
        assert await other.get("l/kept") is not None
        assert lost == []
        await keeping.revoke(lease)
        assert await other.get("l/kept") is None
        with pytest.raises(LeaseLost):
            await other.commit({}, {"l/late": Put("1", lease)})
        watching.cancel()

    use(test)


def test_what_no_lease_holds_outlives_a_restart_and_clients_find_it_again(use: Use) -> None:
    async def test(place: Place) -> None:
        store = place.connect()
        await store.commit({}, {"r/term": Put("7")})
        await place.restart()
        found: list[Entry | None] = []

        async def ask() -> None:
            while not found:
                try:
                    found.append(await store.get("r/term"))
                except StoreError:
                    await asyncio.sleep(0.02)

        async with asyncio.timeout(10):
            await ask()
        assert found[0] is not None
        assert found[0].data == "7"

    use(test)


class Voter:
    """A replica and the events it received."""

    def __init__(self, place: Place, name: str) -> None:
        self.store = place.connect()
        self.candidacy = Candidacy(0, name)
        self.terms: list[int] = []
        self.election = Election(self.store, self.candidacy, self._changed)

    def _changed(self) -> None:
        if self.candidacy.mine and self.candidacy.mine not in self.terms:
            self.terms.append(self.candidacy.mine)

    async def die(self) -> None:
        """As with kill -9: nothing is revoked."""
        self.election._task.cancel()
        await self.store.close()


def master_of(voters: list[Voter]) -> Voter | None:
    masters = sorted((voter for voter in voters if voter.candidacy.mine), key=lambda voter: -voter.candidacy.mine)
    # One that has not heard of its successor yet has a lower term: never the same.
    assert len({voter.candidacy.mine for voter in masters}) == len(masters)
    known = {voter.candidacy.master for voter in voters}
    return masters[0] if masters and known == {masters[0].candidacy.replica} else None


def test_elections(use: Use) -> None:
    async def test(place: Place) -> None:
        loop = asyncio.get_running_loop()
        voters = [Voter(place, name) for name in "abc"]
        await until_async(lambda: master_of(voters))
        first = master_of(voters)
        assert first is not None
        assert first.candidacy.mine == 1
        # Killed: its lease ends.
        voters.remove(first)
        before = loop.time()
        await first.die()
        await until_async(lambda: master_of(voters))
        assert loop.time() - before < 4.0
        second = master_of(voters)
        assert second is not None
        assert second.candidacy.mine == 2
        # Suspected: taken over at once, and the former master learns of it.
        third = next(voter for voter in voters if voter is not second)
        before = loop.time()
        third.election.suspect(2)
        await until_async(lambda: master_of(voters) is third)
        assert loop.time() - before < 0.5
        assert (third.candidacy.mine, second.candidacy.mine, second.candidacy.term) == (3, 0, 3)
        # Leaving in order: the place is free at once.
        before = loop.time()
        voters.remove(third)
        await third.election.close()
        await until_async(lambda: master_of(voters))
        assert loop.time() - before < 0.5
        assert second.candidacy.mine == 4
        assert sorted(term for voter in (first, second, third) for term in voter.terms) == [1, 2, 3, 4]
        await second.election.close()

    use(test)


def test_an_election_outlives_a_restart_of_the_store_and_terms_only_grow(use: Use) -> None:
    async def test(place: Place) -> None:
        voters = [Voter(place, name) for name in "abc"]
        await until_async(lambda: master_of(voters))
        first = master_of(voters)
        assert first is not None
        term = first.candidacy.mine
        await place.restart()
        newcomer = Voter(place, "d")
        await until_async(lambda: newcomer.candidacy.master and master_of([*voters, newcomer]), 20.0)
        now = master_of([*voters, newcomer])
        assert now is not None
        assert now.candidacy.mine >= term
        for voter in (*voters, newcomer):
            await voter.election.close()

    use(test)
