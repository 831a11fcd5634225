"""Requests that come together, and are programmed in pieces, end as if they had come one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controllers.fm.dispatch import Dispatcher
from controllers.fm.intent_store import Changes, IntentStore
from controllers.fm.slices import SLICE
from controllers.testing.world import World, cluster, host, hoverboard, vm
from hoverboard.contract.entities import VM, Network
from tests.unit.controllers import event_loop


class Slow:
    """VM controllers whose switches take some turns of the loop to confirm."""

    def __init__(self) -> None:
        self.world = World("hoverboard")

    async def apply(self, changes: Changes, complete: bool) -> list[str]:
        self.world.core.fabric_changed(changes, complete=complete, now=self.world.now)
        self.world.work()
        await event_loop.turns(5)
        switches, self.world.changed = self.world.changed, set()
        return sorted(switches)


async def started(slow: Slow, *, fair: bool = True) -> tuple[IntentStore, Dispatcher]:
    fabric, dispatcher = IntentStore(), Dispatcher(slow.apply, fair=fair)
    await dispatcher.submit(fabric.full_update(cluster()), True)
    return fabric, dispatcher


_EDITS = st.one_of(
    st.tuples(st.just("vm"), st.sampled_from(["blue", "green"]), st.integers(2, 9), st.sampled_from(["h1", "h2"])),
    st.tuples(st.just("move"), st.integers(2, 9)),
    st.tuples(st.just("remove"), st.integers(2, 9)),
    st.tuples(st.just("crowd"), st.sampled_from(["blue", "green"]), st.booleans()),
    st.tuples(st.just("hoverboard"), st.booleans()),
    st.tuples(st.just("network"), st.sampled_from(["red", "pink"])),
    st.tuples(st.just("no network"), st.sampled_from(["red", "pink"])),
)


_CROWD, _GONE = ("crowd", "blue", True), ("crowd", "blue", False)


@settings(max_examples=30, deadline=None)
@given(edits=st.lists(_EDITS, max_size=15), fair=st.booleans(), together=st.integers(1, 6))
@example(edits=[_CROWD, ("vm", "green", 2, "h1"), _GONE, ("vm", "blue", 2, "h2")], fair=True, together=4)
@example(edits=[("network", "red"), ("network", "pink"), ("no network", "pink"), _CROWD], fair=True, together=6)
@example(edits=[_CROWD, ("hoverboard", True), ("move", 2), ("remove", 2)], fair=False, together=6)
def test_whatever_is_asked_together_ends_as_if_asked_one_by_one(
    edits: Sequence[tuple[object, ...]], fair: bool, together: int
) -> None:
    async def run() -> tuple[World, IntentStore]:
        slow = Slow()
        fabric, dispatcher = await started(slow, fair=fair)
        for number in (1, 2):
            slow.world.connect(host(number))
            slow.world.hello(f"h{number}")
        slow.world.connect(hoverboard(1))
        slow.world.hello("hv1")
        asked: list[asyncio.Task[list[str]]] = []
        for edit in edits:
            changes = accepted(fabric, edit)
            asked.append(asyncio.create_task(dispatcher.submit(changes, True)))
            await asyncio.sleep(0)  # as requests come: each is accepted and queued before the next
            if len(asked) % together == 0:
                await asyncio.gather(*asked)
        await asyncio.gather(*asked)
        assert dispatcher.waiting() == 0
        return slow.world, fabric

    world, fabric = event_loop.run(run())
    again = World("hoverboard")
    again.full_update(list(fabric.entities.values()))
    assert world.expected() == again.expected()
    assert world.core.view.vms == again.core.view.vms


def accepted(fabric: IntentStore, edit: tuple[object, ...]) -> Changes:
    """The change that an edit makes, names being the same in all networks."""
    match edit:
        case ("vm", str(net), int(last), str(on)):
            return fabric.diff([vm(f"v{last}", net, on, last)], [])
        case ("move", int(last)):
            there = fabric.entities.get(("VM", f"v{last}"))
            if not isinstance(there, VM):
                return Changes(fabric.version)
            return fabric.diff([there.model_copy(update={"host": "h1" if there.host == "h2" else "h2"})], [])
        case ("remove", int(last)):
            return fabric.diff([], [("VM", f"v{last}")])
        case ("crowd", str(net), bool(present)):
            crowd = [vm(f"{net}-{n}", net, "h1", n) for n in range(20, 20 + 2 * SLICE)]
            return fabric.diff(crowd, []) if present else fabric.diff([], [("VM", one.name) for one in crowd])
        case ("hoverboard", bool(present)):
            return fabric.diff([hoverboard(2)], []) if present else fabric.diff([], [("Hoverboard", "hv2")])
        case ("network", str(name)):
            other = "pink" if name == "red" else "red"  # both want the same VNI
            return fabric.diff([Network(name=name, vni=77)], [("Network", other)])
        case (_, str(name)):
            return fabric.diff([], [("Network", name)])
        case _:
            raise AssertionError(edit)
