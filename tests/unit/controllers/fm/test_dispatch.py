"""Requests on their way to VM controllers: side by side where they may be, one after the other where they must be."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from controllers.fm.dispatch import Dispatcher
from controllers.fm.intent_store import Changes
from controllers.fm.slices import SLICE
from controllers.testing.world import cluster, host, vm
from hoverboard.contract.entities import VM, AnyEntity
from tests.unit.controllers.event_loop import run, turns

BLUE, GREEN = vm("b", "blue", "h1", 2), vm("g", "green", "h1", 2)


def many(net: str, count: int) -> tuple[VM, ...]:
    return tuple(vm(f"{net}-{n}", net, "h1", 2 + n % 250, f"10.0.{n // 250}") for n in range(count))


def added(*entities: AnyEntity, version: int = 1) -> Changes:
    return Changes(version, added=entities)


class Switches:
    """Takes pieces in; each is done when the test says so."""

    def __init__(self) -> None:
        self.came: list[tuple[Changes, bool]] = []
        self._ends: list[asyncio.Future[list[str]]] = []

    async def apply(self, changes: Changes, complete: bool) -> list[str]:
        self.came.append((changes, complete))
        end: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        return await end

    def names(self) -> list[str]:
        """The first entity of each piece that has come."""
        return [(changes.added + changes.removed)[0].name for changes, _ in self.came]

    def under_way(self) -> int:
        return sum(not end.done() for end in self._ends)

    async def done(self, number: int, *switches: str) -> None:
        """A piece, by the order in which it came, is in these switches."""
        self._ends[number].set_result(list(switches))
        await turns()

    async def all_done(self, switches: Callable[[VM], list[str]]) -> None:
        """All that is under way; in these switches, by the first VM that was added."""
        for (changes, _), end in zip(self.came, list(self._ends), strict=True):
            if not end.done():
                first = changes.added[0]
                assert isinstance(first, VM)
                end.set_result(switches(first))
        await turns()

    async def fails(self, number: int, fault: Exception) -> None:
        self._ends[number].set_exception(fault)
        await turns()

    async def drain(self) -> None:
        """All that has come and will come is done."""
        while self.under_way():
            for end in self._ends:
                if not end.done():
                    end.set_result([])
            await turns()


async def ask(coroutine: Coroutine[Any, Any, list[str]]) -> asyncio.Task[list[str]]:
    """A request that has taken its place."""
    task = asyncio.create_task(coroutine)
    await turns()
    return task


def test_an_answer_names_the_switches_of_all_pieces_once_all_are_done() -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        task = await ask(dispatcher.submit(added(*many("blue", 2 * SLICE)), True))
        assert [len(changes.added) for changes, _ in switches.came] == [SLICE, SLICE]
        assert all(complete for _, complete in switches.came)
        await switches.done(1, "hv1", "h2")
        assert not task.done()
        await switches.done(0, "hv1", "h1")
        assert await task == ["h1", "h2", "hv1"]

    run(story())


@pytest.mark.parametrize("fair", [True, False])
def test_two_pieces_of_a_network_are_under_way_or_two_of_all_in_one_queue(fair: bool) -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply, fair=fair)
        assert dispatcher.fair is fair
        assert dispatcher.waiting() == 0
        blue = await ask(dispatcher.submit(added(*many("blue", 4 * SLICE)), True))
        green = await ask(dispatcher.submit(added(*many("green", 3 * SLICE)), True))
        assert switches.under_way() == (4 if fair else 2)
        assert dispatcher.waiting() == 7
        await switches.done(0)
        assert switches.under_way() == (4 if fair else 2)
        assert dispatcher.waiting() == 6
        await switches.drain()
        await asyncio.gather(blue, green)
        assert dispatcher.waiting() == 0

    run(story())


def test_another_network_goes_between_the_pieces_of_a_large_request() -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        large = await ask(dispatcher.submit(added(*many("blue", 5 * SLICE)), True))
        small = await ask(dispatcher.submit(added(GREEN), True))
        assert switches.names()[2:] == ["g"]
        await switches.done(2, "h1")
        assert await small == ["h1"]
        assert not large.done()
        await switches.drain()
        await large

    run(story())


def blue_beside_green(*blue: Changes, reaches: int = 1) -> str:
    """In which order pieces come, where all that is under way is done at once; those of blue reach more switches."""

    async def story() -> str:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        requests = [*blue, added(*many("green", 6 * SLICE))]
        tasks = [asyncio.create_task(dispatcher.submit(changes, True)) for changes in requests]
        await turns()
        while switches.under_way():
            await switches.all_done(lambda first: [f"h{n}" for n in range(reaches if first.network == "blue" else 1)])
        await asyncio.gather(*tasks)
        return "".join(name[0] for name in switches.names())

    return run(story())


def test_a_piece_costs_its_entities_or_the_switches_that_it_reaches() -> None:
    assert blue_beside_green(added(*many("blue", 6 * SLICE))) == "bbggbbggbbgg"
    assert blue_beside_green(added(*many("blue", 6 * SLICE)), reaches=2 * SLICE) == "bbggggbbggbb"
    forty = many("blue", 40)
    changed = tuple((one, one.model_copy(update={"tags": ("web",)})) for one in forty)
    mixed = Changes(1, added=forty, changed=changed, removed=forty)  # stays in one piece
    assert blue_beside_green(*[mixed] * 6) == "bbggggbbggbb"


def test_a_request_without_changes_is_handed_on_whatever_goes_on() -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        busy = await ask(dispatcher.submit(added(BLUE), True))
        for complete in (True, False):
            task = await ask(dispatcher.submit(Changes(5), complete))
            assert switches.came[-1] == (Changes(5), complete)
            await switches.done(len(switches.came) - 1, "h7")
            assert await task == ["h7"]
        await switches.drain()
        await busy

    run(story())


def test_the_first_request_waits_for_nothing() -> None:
    async def story() -> None:
        switches = Switches()
        task = await ask(Dispatcher(switches.apply).submit(added(*cluster()), True))
        await switches.done(0, "h1")
        assert await task == ["h1"]

    run(story())


@pytest.mark.parametrize(
    ("changes", "complete"),
    [(added(host(9)), True), (added(BLUE, version=2), False), (added(*cluster()), True)],
)
def test_what_concerns_everything_waits_for_all_before_it_and_holds_up_all_after_it(
    changes: Changes, complete: bool
) -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        before = await ask(dispatcher.submit(added(GREEN), True))
        alone = await ask(dispatcher.submit(changes, complete))
        after = await ask(dispatcher.submit(added(vm("later", "blue", "h1", 9)), True))
        assert len(switches.came) == 1
        await switches.done(0)
        assert await before == []
        assert switches.came[1:] == [(changes, complete)]
        await switches.done(1, "h9")
        assert await alone == ["h9"]
        assert switches.names()[2:] == ["later"]
        await switches.done(2)
        await after
        again = await ask(dispatcher.submit(added(host(8)), True))  # now nothing is before it
        await switches.done(3)
        assert await again == []

    run(story())


def test_what_two_networks_both_touch_is_done_in_order() -> None:
    """A VM of one network is removed, and one of its name comes in another."""

    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        twin = vm("b", "green", "h1", 2)
        tasks = [
            await ask(dispatcher.submit(Changes(1, removed=(BLUE,)), True)),
            await ask(dispatcher.submit(added(vm("b", "blue", "h1", 9), version=2), True)),  # of the same network
            await ask(dispatcher.submit(Changes(3, removed=(vm("b", "blue", "h1", 9),)), True)),
            await ask(dispatcher.submit(added(GREEN, twin, version=4), True)),
        ]
        assert [changes.version for changes, _ in switches.came] == [1, 2]
        await switches.done(0)
        assert [changes.version for changes, _ in switches.came] == [1, 2, 3]
        await switches.done(1)
        assert len(switches.came) == 3
        await switches.done(2)
        assert switches.came[3] == (added(GREEN, twin, version=4), True)
        await switches.done(3)
        await asyncio.gather(*tasks)
        free = await ask(dispatcher.submit(added(BLUE, vm("g2", "green", "h1", 3), version=5), True))  # nothing is held
        assert len(switches.came) == 6
        await switches.drain()
        await free

    run(story())


def test_two_requests_of_two_networks_may_share_a_queue_when_both_are_of_both() -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        first = await ask(dispatcher.submit(added(BLUE, GREEN), True))
        second = await ask(dispatcher.submit(Changes(2, removed=(BLUE, GREEN)), True))
        assert [changes.version for changes, _ in switches.came] == [1, 1, 2, 2]
        third = await ask(dispatcher.submit(added(GREEN, version=3), True))  # of one of them only
        assert len(switches.came) == 4
        for number in (0, 1, 2):
            await switches.done(number)
            assert len(switches.came) == 4
        await switches.done(3)
        assert [changes.version for changes, _ in switches.came] == [1, 1, 2, 2, 3]
        await switches.drain()
        await asyncio.gather(first, second, third)

    run(story())


def test_an_error_reaches_its_caller_and_disturbs_no_other_request() -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        bad = await ask(dispatcher.submit(added(*many("blue", 2 * SLICE)), True))
        good = await ask(dispatcher.submit(added(GREEN), True))
        await switches.fails(0, ValueError("broken"))
        assert not bad.done()
        await switches.done(1, "h1")
        with pytest.raises(ValueError, match="broken"):
            await bad
        await switches.done(2, "h1")
        assert await good == ["h1"]
        assert dispatcher.waiting() == 0
        alone = await ask(dispatcher.submit(added(host(9)), True))
        await switches.done(3)
        assert await alone == []

    run(story())


def test_a_request_without_a_waiting_caller_is_still_done() -> None:
    async def story() -> None:
        switches = Switches()
        dispatcher = Dispatcher(switches.apply)
        task = await ask(dispatcher.submit(added(*many("blue", 4 * SLICE)), True))
        task.cancel()
        await turns()
        assert task.cancelled()
        await switches.drain()
        assert len(switches.came) == 4
        assert dispatcher.waiting() == 0

    run(story())


def test_the_loop_has_a_turn_between_two_pieces() -> None:
    async def story() -> None:
        ticks, began = 0, []

        async def apply(changes: Changes, complete: bool) -> list[str]:
            began.append(ticks)
            await turns(3)
            return []

        dispatcher = Dispatcher(apply)
        tasks = [
            asyncio.ensure_future(dispatcher.submit(added(*many(net, 3 * SLICE)), True)) for net in ("blue", "green")
        ]
        while not all(task.done() for task in tasks):
            ticks += 1
            await asyncio.sleep(0)
        assert len(began) == 6
        assert len(set(began)) == 6

    run(story())


def test_a_piece_lives_as_long_as_it_is_under_way_and_no_longer() -> None:
    async def story() -> None:
        tasks: list[weakref.ref[Any]] = []

        async def apply(changes: Changes, complete: bool) -> list[str]:
            end: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
            tasks.append(weakref.ref(asyncio.current_task()))
            ends.append(weakref.ref(end))
            return await end  # the piece alone holds it

        ends: list[weakref.ref[Any]] = []
        dispatcher = Dispatcher(apply)
        request = await ask(dispatcher.submit(added(BLUE), True))
        gc.collect()
        end = ends[0]()
        assert end is not None
        end.set_result(["h1"])
        del end
        assert await request == ["h1"]
        await turns()
        gc.collect()
        assert tasks[0]() is None

    run(story())
