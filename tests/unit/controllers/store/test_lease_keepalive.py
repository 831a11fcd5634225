"""The thread that keeps leases alive, turn by turn: the test ends its pauses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from controllers.store.lease_keepalive import LeaseKeepalive
from tests.unit.guarded import OwnedLock, guarded

_DEADLINE = 10.0  # seconds


class Turns(threading.Event):
    """An event whose waits end when the test says so.

    Attributes:
        pauses: how long the thread wanted to wait, each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float | None] = []
        self._waits = threading.Semaphore(0)
        self._turns = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout)
        self._waits.release()
        self._turns.acquire()
        return self.is_set()

    def set(self) -> None:
        super().set()
        self._turns.release()

    async def waits(self) -> None:
        """Until the thread waits."""
        assert await asyncio.to_thread(self._waits.acquire, timeout=_DEADLINE)

    def end_pause(self) -> None:
        """Let the thread go on."""
        self._turns.release()

    async def turn(self) -> None:
        """End a pause, and wait for the next one."""
        self.end_pause()
        await self.waits()


class Store:
    """Answers for leases, in a test's words."""

    def __init__(self) -> None:
        self.answers: dict[int, bool | None] = {}
        self.asked: list[int] = []
        self.lost: list[str] = []
        self.threads: set[str] = set()
        self.meanwhile: Callable[[int], None] = lambda _: None

    def keep(self, lease: int) -> bool | None:
        self.asked.append(lease)
        self.threads.add(threading.current_thread().name)
        self.meanwhile(lease)
        return self.answers.get(lease, True)

    def losing(self, name: str) -> Callable[[], None]:
        def lost() -> None:
            assert threading.current_thread() is threading.main_thread()
            self.lost.append(name)

        return lost


def run(test: Callable[[Store, LeaseKeepalive, Turns], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        store, turns = Store(), Turns()
        keeper = LeaseKeepalive(store.keep, turns)
        try:
            async with asyncio.timeout(_DEADLINE):
                await test(store, keeper, turns)
        finally:
            keeper.close()

    asyncio.run(inside())


def leases_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "leases"]


def test_each_lease_is_kept_alive_at_each_turn_four_times_in_the_shortest_ones_time() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        keeper.add(1, 2.0, store.losing("one"))
        await turns.waits()
        keeper.add(2, 3.0, store.losing("two"))
        assert turns.pauses == [0.25]  # soon enough for a lease of a second, whatever was asked for
        await turns.turn()
        assert store.asked == [1, 2]
        assert turns.pauses == [0.25, 0.5]
        await turns.turn()
        assert store.asked == [1, 2, 1, 2]
        assert store.threads == {"leases"}
        assert store.lost == []

    run(test)


def test_one_thread_keeps_all_leases_and_ends_with_its_owner() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        before = leases_threads()
        keeper.add(1, 2.0, store.losing("one"))
        keeper.add(2, 2.0, store.losing("two"))
        await turns.waits()
        (thread,) = [thread for thread in leases_threads() if thread not in before]
        assert thread.daemon
        keeper.close()
        await asyncio.to_thread(thread.join, _DEADLINE)
        assert not thread.is_alive()
        assert store.asked == []

    run(test)


def test_a_lease_that_ended_is_reported_once_and_not_renewed() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        keeper.add(1, 2.0, store.losing("one"))
        keeper.add(2, 8.0, store.losing("two"))
        await turns.waits()
        store.answers[1] = False
        await turns.turn()
        await turns.turn()
        assert store.asked == [1, 2, 2]
        assert store.lost == ["one"]
        assert turns.pauses == [0.25, 0.5, 2.0]

    run(test)


def test_no_answer_says_nothing_of_a_lease() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        keeper.add(1, 2.0, store.losing("one"))
        await turns.waits()
        store.answers[1] = None
        await turns.turn()
        await turns.turn()
        assert (store.asked, store.lost) == ([1, 1], [])

    run(test)


def test_a_lease_that_was_given_back_is_asked_about_no_more() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        keeper.add(1, 2.0, store.losing("one"))
        await turns.waits()
        keeper.remove(1)
        keeper.remove(7)
        await turns.turn()
        assert store.asked == []
        assert turns.pauses == [0.25, 0.25]  # there may be another one soon

    run(test)


def test_a_lease_that_is_given_back_while_the_store_is_asked_is_not_lost() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        keeper.add(1, 2.0, store.losing("one"))
        keeper.add(2, 2.0, store.losing("two"))
        await turns.waits()
        store.answers.update({1: False, 2: False})
        store.meanwhile = lambda lease: keeper.remove(1)
        await turns.turn()
        await turns.turn()
        assert store.lost == ["two"]

    run(test)


def test_nothing_is_lost_after_the_owner_has_closed() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        keeper.add(1, 2.0, store.losing("one"))
        await turns.waits()
        (thread,) = [thread for thread in leases_threads() if thread.is_alive()][-1:]
        store.answers[1] = False
        store.meanwhile = lambda lease: keeper.close()
        turns.end_pause()
        await asyncio.to_thread(thread.join, _DEADLINE)
        assert not thread.is_alive()
        await asyncio.sleep(0)
        assert (store.asked, store.lost) == ([1], [])

    run(test)


def test_leases_are_touched_under_the_lock_by_both_threads() -> None:
    async def test(store: Store, keeper: LeaseKeepalive, turns: Turns) -> None:
        lock = OwnedLock()
        keeper._lock = lock  # type: ignore[assignment]
        keeper._leases = guarded(keeper._leases, lock, "leases")
        keeper.add(1, 2.0, store.losing("one"))
        keeper.add(2, 2.0, store.losing("two"))
        await turns.waits()
        store.answers[1] = False
        await turns.turn()
        keeper.remove(2)
        await turns.turn()
        assert (store.asked, store.lost) == ([1, 2], ["one"])
        assert lock.without == []

    run(test)


def test_an_owner_that_gives_no_event_ends_the_thread_by_close() -> None:
    async def inside() -> None:
        store, before = Store(), leases_threads()
        keeper = LeaseKeepalive(store.keep)
        keeper.add(1, 2.0, store.losing("one"))
        (thread,) = [thread for thread in leases_threads() if thread not in before]
        keeper.close()
        await asyncio.to_thread(thread.join, _DEADLINE)
        assert not thread.is_alive()

    asyncio.run(inside())
