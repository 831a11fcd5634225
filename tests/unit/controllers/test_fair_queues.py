"""Queues of changes: fair between networks, in order within one, atomic for the one who asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from control_plane_world import World, cluster, host, hoverboard, network, route, vm
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.fm.dispatch import UNDER_WAY, Dispatcher
from controllers.fm.fabric import Changes, Fabric
from controllers.fm.queues import FairQueues
from controllers.fm.slices import SLICE, cut
from hoverboard.contract.entities import VM, AnyEntity, Network

_COSTS = st.integers(1, 40)
_ITEMS = st.lists(st.tuples(st.sampled_from("abc"), _COSTS), max_size=120)


@given(items=_ITEMS, quantum=st.integers(1, 50), fair=st.booleans())
def test_every_item_comes_once_and_in_its_keys_order(items: list[tuple[str, int]], quantum: int, fair: bool) -> None:
    queues: FairQueues[str, int] = FairQueues(quantum, fair=fair)
    for number, (key, _) in enumerate(items):
        queues.put(key, number)
    taken = []
    while (next_one := queues.take()) is not None:
        key, number = next_one
        assert items[number][0] == key
        taken.append(number)
        queues.charge(key, items[number][1])
    assert len(queues) == 0
    assert sorted(taken) == list(range(len(items)))
    for key in "abc":
        of_key = [number for number in taken if items[number][0] == key]
        assert of_key == sorted(of_key)
    if not fair:
        assert taken == sorted(taken)


@given(costs=st.lists(st.tuples(_COSTS, _COSTS), min_size=1, max_size=200), quantum=st.integers(1, 50))
def test_two_busy_keys_get_the_same_to_within_a_turn(costs: list[tuple[int, int]], quantum: int) -> None:
    queues: FairQueues[str, int] = FairQueues(quantum)
    for one, two in costs:
        queues.put("a", one)
        queues.put("b", two)
    served: Counter[str] = Counter()
    most = max(max(pair) for pair in costs)
    while queues.waiting("a") and queues.waiting("b"):
        taken = queues.take()
        assert taken is not None
        queues.charge(*taken)
        served[taken[0]] += taken[1]
        assert abs(served["a"] - served["b"]) <= 2 * (quantum + most)


@given(backlog=st.integers(1, 500), cost=st.integers(1, 1000))
def test_a_new_key_waits_for_one_turn_at_most(backlog: int, cost: int) -> None:
    queues: FairQueues[str, int] = FairQueues(64)
    for number in range(backlog):
        queues.put("busy", number)
    for _ in range(min(3, backlog)):
        taken = queues.take()
        assert taken is not None
        queues.charge(taken[0], cost)
    queues.put("small", 0)
    before = 0
    while (taken := queues.take()) is not None and taken[0] != "small":
        queues.charge("busy", cost)
        before += cost
    assert taken == ("small", 0)
    assert before <= 64 + cost


def test_a_key_that_may_not_go_keeps_its_place_and_holds_nobody_up() -> None:
    queues: FairQueues[str, int] = FairQueues(10)
    queues.put("a", 1)
    queues.put("b", 2)
    assert queues.take(lambda key: key != "a") == ("b", 2)
    queues.charge("b", 5)
    assert queues.take(lambda key: False) is None
    assert queues.take() == ("a", 1)


def test_no_quantum_is_refused() -> None:
    with pytest.raises(ValueError, match="gives no queue a turn"):
        FairQueues(0)


# --- cutting -------------------------------------------------------------------------------------------


def full(*more: AnyEntity) -> Fabric:
    fabric = Fabric()
    fabric.full_update([*cluster(), *more])
    return fabric


def many(net: str, count: int) -> list[VM]:
    return [vm(f"{net}-{n}", net, f"h{1 + n % 2}", 2 + n) for n in range(count)]


def test_a_large_request_is_cut_by_network_and_size() -> None:
    pieces = cut(full().diff([*many("blue", 2 * SLICE + 1), *many("green", 1)], []))
    assert pieces is not None
    assert {net: [len(piece.added) for piece in of_it] for net, of_it in pieces.items()} == {
        "blue": [SLICE, SLICE, 1], "green": [1],
    }  # fmt: skip


def test_what_leans_on_each_other_stays_in_one_piece_or_in_order() -> None:
    fabric = full(*many("blue", 100))
    # The next hop comes with its route, after it.
    pieces = cut(fabric.diff([route("r", "blue", "192.168.7.0/24", "x"), vm("x", "blue", "h1", 200)], []), 1)
    assert pieces is not None
    assert [piece.added[0].TYPE for piece in pieces["blue"]] == ["VM", "Route"]
    removal = cut(fabric.diff([], [("VM", "x"), ("Route", "r")]), 1)
    assert removal is not None
    assert [piece.removed[0].TYPE for piece in removal["blue"]] == ["Route", "VM"]
    # An address goes from one VM to another.
    one, two = many("blue", 2)
    swap = [two.model_copy(update={"name": one.name}), one.model_copy(update={"name": two.name})]
    swapped = cut(fabric.diff(swap, []), 1)
    assert swapped is not None
    assert len(swapped["blue"]) == 1


def test_what_concerns_all_networks_is_cut_by_none() -> None:
    assert cut(full().diff([host(9), vm("x", "blue", "h9", 9)], [])) is None
    fabric = full(vm("x", "blue", "h1", 9))
    assert cut(fabric.diff([vm("x", "green", "h1", 9)], [])) is None


# --- dispatching ---------------------------------------------------------------------------------------


class Slow:
    """VM controllers whose switches take a turn of the loop to confirm; remembers the order of what came."""

    def __init__(self) -> None:
        self.world = World("hoverboard")
        self.came: list[Changes] = []
        self.at_once: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def apply(self, changes: Changes, complete: bool) -> list[str]:
        self.came.append(changes)
        names = {one.network if isinstance(one, VM) else one.name for one in changes.added}
        self.world.core.fabric_changed(changes, complete=complete)
        self.world.work()
        for name in names:
            self.at_once[name] += 1
            self.most[name] = max(self.most[name], self.at_once[name])
        for _ in range(5):
            await asyncio.sleep(0)
        for name in names:
            self.at_once[name] -= 1
        switches, self.world.changed = self.world.changed, set()
        return sorted(switches)


async def started(slow: Slow, *, fair: bool = True) -> tuple[Fabric, Dispatcher]:
    fabric, dispatcher = Fabric(), Dispatcher(slow.apply, fair=fair)
    await dispatcher.submit(fabric.full_update(cluster()), True)
    slow.came.clear()
    return fabric, dispatcher


@pytest.mark.parametrize("fair", [True, False])
def test_one_vm_does_not_wait_for_another_networks_many(fair: bool) -> None:
    async def run() -> int:
        slow = Slow()
        fabric, dispatcher = await started(slow, fair=fair)
        wide = network("blue", "10.0.0.0/16")[1].model_copy(update={"name": "blue-sub"})
        await dispatcher.submit(fabric.diff([wide], []), True)
        slow.came.clear()
        crowd = [vm(f"b{n}", "blue", "h1", n % 250 + 2, f"10.0.{n // 250}") for n in range(20 * SLICE)]
        large = asyncio.create_task(dispatcher.submit(fabric.diff(crowd, []), True))
        while not slow.came:
            await asyncio.sleep(0)
        await dispatcher.submit(fabric.diff([vm("g", "green", "h1", 2)], []), True)
        before = len(slow.came)
        await large
        assert sum(len(changes.added) for changes in slow.came) == 20 * SLICE + 1
        assert slow.most["blue"] <= UNDER_WAY
        return before

    pieces = asyncio.run(run())
    assert pieces <= 2 * UNDER_WAY + 2 if fair else pieces > 20


_EDITS = st.one_of(
    st.tuples(st.just("vm"), st.sampled_from(["blue", "green"]), st.integers(2, 9), st.sampled_from(["h1", "h2"])),
    st.tuples(st.just("move"), st.integers(2, 9)),
    st.tuples(st.just("remove"), st.integers(2, 9)),
    st.tuples(st.just("crowd"), st.sampled_from(["blue", "green"]), st.booleans()),
    st.tuples(st.just("hoverboard"), st.booleans()),
    st.tuples(st.just("network"), st.sampled_from(["red", "pink"])),
    st.tuples(st.just("no network"), st.sampled_from(["red", "pink"])),
)


@settings(max_examples=40, deadline=None)
@given(edits=st.lists(_EDITS, max_size=15), fair=st.booleans(), together=st.integers(1, 6))
def test_whatever_is_asked_together_ends_as_if_asked_one_by_one(
    edits: Sequence[tuple[object, ...]], fair: bool, together: int
) -> None:
    async def run() -> tuple[World, Fabric]:
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

    world, fabric = asyncio.run(run())
    again = World("hoverboard")
    again.full_update(list(fabric.entities.values()))
    assert world.expected() == again.expected()
    assert world.core.view.vms == again.core.view.vms


def accepted(fabric: Fabric, edit: tuple[object, ...]) -> Changes:
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
