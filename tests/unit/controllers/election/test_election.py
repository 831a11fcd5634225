"""Replicas that run their candidacies against a store: leases, watches, deference, and a store that goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from controllers.election.candidacy import Candidacy
from controllers.election.election import Election
from controllers.store.port import Put, StoreError
from tests.unit.controllers.store.store_in_memory import LocalStore, Place
from tests.unit.controllers.virtual_time import run
from tests.waiting import until_async

LEASE = 1.0


class Voter:
    """A replica, and each state (mine, term, master) that it reported."""

    def __init__(self, place: Place, name: str) -> None:
        self.store = place.connect()
        self.me = Candidacy(0, name)
        self.told: list[tuple[int, int, str]] = []
        self.election = Election(self.store, self.me, self._changed)

    async def leave(self) -> None:
        await self.election.close()
        await self.store.close()

    def _changed(self) -> None:
        self.told.append((self.me.mine, self.me.term, self.me.master))

    @property
    def terms(self) -> list[int]:
        """The terms that it was master of."""
        return list(dict.fromkeys(mine for mine, _, _ in self.told if mine))


class Partition:
    """Replicas of one partition and their store."""

    def __init__(self, replicas: int = 3) -> None:
        self.place = Place()
        self.voters = [Voter(self.place, "abc"[number]) for number in range(replicas)]

    def master(self) -> Voter | None:
        """The master, once all know it."""
        masters = [voter for voter in self.voters if voter.me.mine]
        known = {(voter.me.master, voter.me.term) for voter in self.voters}
        return masters[0] if len(masters) == 1 and known == {(masters[0].me.replica, masters[0].me.mine)} else None

    async def elected(self, seconds: float = 10.0) -> Voter:
        await until_async(self.master, seconds)
        found = self.master()
        assert found is not None
        return found

    def terms(self) -> list[int]:
        """Every term that ever had a master, once for each of its masters."""
        return sorted(term for voter in self.voters for term in voter.terms)

    async def close(self) -> None:
        for voter in self.voters:
            await voter.leave()
        assert self.place.watchers == 0
        self.place.close()
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}


def with_replicas(test: Callable[[Partition], Coroutine[Any, Any, None]], replicas: int = 3) -> None:
    async def inside() -> None:
        partition = Partition(replicas)
        try:
            await test(partition)
        finally:
            partition.place.away = False
            await partition.close()

    run(inside)


def test_of_three_replicas_one_is_elected_and_all_are_notified() -> None:
    async def test(partition: Partition) -> None:
        begun = asyncio.get_running_loop().time()
        first = await partition.elected()
        assert asyncio.get_running_loop().time() - begun < 0.1  # without a term, no replica waits to
        assert first.told[-1] == (1, 1, first.me.replica)
        await asyncio.sleep(20)
        assert partition.terms() == [1]
        for voter in partition.voters:
            assert voter.told[-1] == (voter.me.mine, 1, first.me.replica)
            assert voter.told[0] != (0, 0, "")
            assert len(set(voter.told)) == len(voter.told)  # told of changes only
            assert [seconds for _, seconds in voter.store.granted] == [LEASE]

    with_replicas(test)


def test_a_master_whose_process_stops_is_followed_at_the_end_of_its_lease_by_exactly_one_new_term() -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        await asyncio.sleep(5)
        first.store.stopped = True
        await asyncio.sleep(LEASE / 2)
        assert partition.master() is first
        await until_async(lambda: partition.terms() == [1, 2], 1.0)
        await asyncio.sleep(20)
        assert partition.terms() == [1, 2]
        first.store.stopped = False  # it runs again, and learns that its lease is over
        await asyncio.sleep(20)
        assert partition.terms() == [1, 2]
        assert first.told[-1][:2] == (0, 2)
        assert partition.master() not in (None, first)

    with_replicas(test)


def test_a_suspected_master_is_followed_at_once_and_the_end_of_its_lease_changes_nothing() -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        await asyncio.sleep(5)
        first.store.stopped = True
        for voter in partition.voters:
            if voter is not first:
                voter.election.suspect(1)
        assert await until_async(lambda: partition.terms() == [1, 2], 1.0) < 0.1
        await asyncio.sleep(20)
        assert partition.terms() == [1, 2]

    with_replicas(test)


def test_a_master_that_leaves_is_followed_at_once() -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        await asyncio.sleep(5)
        await first.election.close()
        assert first.store.revoked == [lease for lease, _ in first.store.granted]
        partition.voters.remove(first)
        begun = asyncio.get_running_loop().time()
        second = await partition.elected()
        assert asyncio.get_running_loop().time() - begun < 0.1
        assert second.terms == [2]

    with_replicas(test)


def test_leaving_without_a_store_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        partition.place.go_away()
        with caplog.at_level(logging.INFO, logger="controllers.election.election"):
            await first.election.close()
        assert "the store does not answer" in caplog.text
        assert first.store.revoked == []

    with_replicas(test, 1)


def test_leaving_before_there_is_a_lease_revokes_nothing() -> None:
    async def test(partition: Partition) -> None:
        await partition.voters[0].election.close()
        assert partition.voters[0].store.revoked == []

    with_replicas(test, 1)


def test_a_master_that_a_front_end_deposed_is_a_standby_at_once_and_stands_again() -> None:
    async def test(partition: Partition) -> None:
        only = await partition.elected()
        only.election.deposed(1)
        assert only.told[-1] == (0, 1, "a")
        assert await until_async(lambda: only.me.mine, 1.0) < 0.1
        assert only.terms == [1, 2]
        only.election.deposed(1)  # late
        await asyncio.sleep(5)
        assert only.terms == [1, 2]

    with_replicas(test, 1)


def test_a_store_that_is_away_for_long_deposes_no_master(caplog: pytest.LogCaptureFixture) -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        with caplog.at_level(logging.WARNING, logger="controllers.election.election"):
            partition.place.go_away()
            await asyncio.sleep(30)
            assert first.me.mine == 1
        # Each says so once, however often it tries.
        assert [record.getMessage() for record in caplog.records].count("here: the store does not answer") <= 3
        assert len(caplog.records) == 3
        partition.place.come_back()
        await asyncio.sleep(30)
        assert partition.terms() == [1]
        assert partition.master() is first
        caplog.clear()
        partition.place.go_away()
        await asyncio.sleep(1)
        assert len(caplog.records) == 3  # it was there between: said again

    with_replicas(test)


def test_a_store_that_is_away_from_the_start_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test(partition: Partition) -> None:
        partition.place.away = True
        with caplog.at_level(logging.WARNING, logger="controllers.election.election"):
            early = Voter(partition.place, "early")
            await asyncio.sleep(5)
        assert len(caplog.records) == 1
        partition.place.away = False
        assert await until_async(lambda: early.me.mine, 1.0) < 0.1
        await early.leave()

    with_replicas(test, 0)


def test_a_late_replica_learns_who_is_master() -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        late = Voter(partition.place, "late")
        await asyncio.sleep(5)
        assert late.told == [(0, 1, first.me.replica)]
        await late.leave()

    with_replicas(test)


def test_victories_and_lost_leases_are_reported_before_the_watch_reports_them() -> None:
    async def test(partition: Partition) -> None:
        partition.place.slow = 5.0
        only = partition.voters[0]
        await until_async(lambda: only.me.mine)
        assert only.told == [(1, 1, "a")]
        partition.place.data.revoke(only.store.granted[0][0])
        await until_async(lambda: not only.me.mine, 1.0)
        assert only.told[1:] == [(0, 1, "a")]
        await until_async(lambda: only.me.mine, 10.0)  # once it has been told that its key is gone
        assert only.told[2:] == [(0, 1, ""), (2, 2, "a")]

    with_replicas(test, 1)


def test_a_store_that_is_away_is_asked_again_and_again() -> None:
    async def test(partition: Partition) -> None:
        await partition.elected()
        for seconds in (0.01, 0.3, 5.0):
            partition.place.go_away()
            await asyncio.sleep(seconds)
            partition.place.come_back()
            only = partition.voters[0]
            only.me.master = ""  # not known any more
            assert await until_async(lambda only=only: only.me.master == "a", 1.0) < 0.1

    with_replicas(test, 1)


def test_a_store_that_lost_all_leases_finds_its_former_master_again_because_standbys_defer() -> None:
    async def test(partition: Partition) -> None:
        master = await partition.elected()
        partition.place.go_away()
        await asyncio.sleep(0.2)
        partition.place.come_back(leases=False)
        assert await until_async(lambda: len(partition.terms()) > 1, 1.0) < 0.2
        await asyncio.sleep(5)
        assert partition.terms() == [1, 2]
        assert master.terms == [1, 2]

    with_replicas(test)


def test_the_time_that_is_left_to_a_former_master_ends() -> None:
    async def test(partition: Partition) -> None:
        partition.place.data.commit({}, {"partition/0/term": Put("7")})  # a former life's; the master's lease is over
        late = Voter(partition.place, "late")
        assert 0.25 < await until_async(lambda: late.me.mine, 1.0) < 0.4
        assert late.terms == [8]
        await late.leave()

    with_replicas(test, 0)


def test_a_former_master_that_is_suspected_is_left_no_time() -> None:
    async def test(partition: Partition) -> None:
        partition.place.data.commit({}, {"partition/0/term": Put("7")})
        late = Voter(partition.place, "late")
        await until_async(lambda: late.me.term == 7)
        await asyncio.sleep(0.05)
        assert late.me.mine == 0
        late.election.suspect(6)  # of an older term: nothing
        await asyncio.sleep(0.05)
        assert late.me.mine == 0
        late.election.suspect(7)
        assert await until_async(lambda: late.me.mine, 1.0) < 0.05
        await late.leave()

    with_replicas(test, 0)


def test_a_watch_that_ends_begins_again_and_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async def test(partition: Partition) -> None:
        first = await partition.elected()
        with caplog.at_level(logging.WARNING, logger="controllers.election.election"):
            partition.place.end_watches()
            await asyncio.sleep(0.5)
        assert [record.getMessage() for record in caplog.records] == ["store: the watch has ended"] * 3
        for voter in partition.voters:
            if voter is not first:
                voter.election.suspect(1)
        await until_async(lambda: partition.terms() == [1, 2], 2.0)

    with_replicas(test)


def test_a_watch_that_ends_while_a_replica_defers_begins_again_at_once() -> None:
    async def test(partition: Partition) -> None:
        partition.place.data.commit({}, {"partition/0/term": Put("7")})
        late = Voter(partition.place, "late")
        await until_async(lambda: late.me.term == 7)
        partition.place.go_away()
        await asyncio.sleep(0.1)
        partition.place.come_back()
        partition.place.data.commit({}, {"partition/0/term": Put("9")})
        assert await until_async(lambda: late.me.term == 9, 1.0) < 0.1
        await late.leave()

    with_replicas(test, 0)


def test_a_lease_that_is_over_at_the_write_is_replaced_and_its_late_end_deposes_no_master() -> None:
    """The store knows of the end at once; the thread that keeps leases alive may find out seconds later."""

    async def test(partition: Partition) -> None:
        only = await partition.elected()
        await asyncio.sleep(5)
        (lease, _), *_ = only.store.granted
        only.election.deposed(1)
        only.store.before_commit = lambda: partition.place.data.revoke(lease)
        only.store.slow = 3.0
        await until_async(lambda: only.me.mine == 2, 2.0)
        await asyncio.sleep(20)
        assert only.terms == [1, 2]
        assert len(only.store.granted) == 2

    with_replicas(test, 1)


def test_a_lease_that_ends_in_the_store_is_replaced_by_its_replica() -> None:
    async def test(partition: Partition) -> None:
        only = await partition.elected()
        partition.place.data.revoke(1)
        await asyncio.sleep(5)
        assert only.me.mine == only.terms[-1] > 1
        assert len(only.store.granted) == 2

    with_replicas(test, 1)


def test_a_write_whose_answer_is_lost_is_found_by_the_next_watch() -> None:
    async def test(partition: Partition) -> None:
        only = partition.voters[0]
        store = only.store
        made = store.commit
        answers = 0

        async def unheard(*args: Any) -> int | None:
            nonlocal answers
            answers += 1
            revision = await made(*args)
            if answers == 1:
                raise StoreError("no answer", where="here")
            return revision

        store.commit = unheard  # type: ignore[method-assign]
        await until_async(lambda: only.me.mine, 2.0)
        assert only.terms == [2]  # term 1 was written, and its owner is unknown

    with_replicas(test, 1)


def test_who_was_too_late_is_a_standby_and_writes_nothing_more() -> None:
    async def test(partition: Partition) -> None:
        writes: list[LocalStore] = []
        for voter in partition.voters:
            voter.store.before_commit = lambda store=voter.store: writes.append(store)
        await partition.elected()
        await asyncio.sleep(5)
        assert len(writes) <= 3
        assert partition.place.data.revision == 1

    with_replicas(test)
