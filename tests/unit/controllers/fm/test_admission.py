"""A large request is taken in step by step: what may go between, what waits, and what a refusal leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from ipaddress import IPv4Address, IPv4Network

import pytest

from controllers.fm.admission import SMALL, Admission
from controllers.fm.intent_store import IntentStore
from hoverboard.contract.encapsulation import guest_mac
from hoverboard.contract.entities import VM, AnyEntity, FirewallRule, Host, Network, Subnetwork
from hoverboard.contract.errors import EntityError, RunError
from tests.unit.controllers.event_loop import run, turns

MANY = 4 * SMALL


def network(name: str, vni: int) -> list[AnyEntity]:
    return [
        Network(name=name, vni=vni),
        Subnetwork(name=name, network=name, prefix=IPv4Network(f"10.{vni}.0.0/16")),
    ]


def vm(vni: int, number: int, name: str = "", host: str = "h1", external: tuple[str, ...] = ()) -> VM:
    ip = IPv4Address(f"10.{vni}.0.0") + number + 10
    of = {7: "blue", 8: "red"}[vni]
    return VM(
        name=name or f"{of}-{number}", network=of, ip=ip, mac=guest_mac(vni, ip), host=host,
        external_ips=tuple(map(IPv4Address, external)),
    )  # fmt: skip


def store() -> tuple[IntentStore, Admission]:
    fabric = IntentStore()
    fabric.full_update(
        [Host(name="h1", underlay_ip=IPv4Address("172.16.0.1")), *network("blue", 7), *network("red", 8)]
    )
    return fabric, Admission(fabric)


async def beside(
    admission: Admission, large: list[AnyEntity], *others: Awaitable[object], expected: int | None = None
) -> list[object]:
    """A large request and others right behind it, in the order in which they end."""
    ended: list[object] = []

    async def watch(what: Awaitable[object]) -> None:
        try:
            ended.append(await what)
        except (EntityError, RunError) as refused:
            ended.append(refused)

    first = asyncio.create_task(watch(admission.diff(large, [], expected)))
    await asyncio.sleep(0)
    await asyncio.gather(first, *map(watch, others))
    return ended


def kinds(ended: list[object]) -> list[int]:
    """How many entities each request added, in the order in which they ended."""
    return [len(one.added) for one in ended]  # type: ignore[attr-defined]


def versions(ended: list[object]) -> list[int | None]:
    return [getattr(one, "version", None) for one in ended]


def test_a_small_request_of_another_network_goes_between() -> None:
    fabric, admission = store()
    large = [vm(8, number) for number in range(MANY)]
    first, second = run(beside(admission, [*large], admission.diff([vm(7, 0)], [])))
    assert (first.added, first.version) == ((vm(7, 0),), 2)  # type: ignore[attr-defined]
    assert (len(second.added), second.version) == (MANY, 3)  # type: ignore[attr-defined]
    assert len(fabric.listed("VM")["entities"]) == MANY + 1


@pytest.mark.parametrize(
    "small",
    [
        [vm(8, MANY + 1)],  # of the same network
        [vm(7, 0, name="red-5")],  # of the same name
        [vm(7, 0, external=("192.0.2.1",))],  # an address of the whole cluster's
        [Host(name="h3", underlay_ip=IPv4Address("172.16.0.3"))],  # of all networks
        [*network("green", 9)],  # its VNI is for all networks to see
        [vm(7, number) for number in range(SMALL + 1)],  # not small
    ],
)
def test_what_has_to_do_with_it_waits(small: list[AnyEntity]) -> None:
    _, admission = store()
    large = [vm(8, number) for number in range(MANY)]
    ended = run(beside(admission, [*large], admission.diff(small, [])))
    assert len(ended[0].added) == MANY  # type: ignore[attr-defined]


def rule(name: str, net: str) -> FirewallRule:
    return FirewallRule(name=name, network=net, direction="ingress", action="deny")


def test_any_entity_of_another_network_may_go_between() -> None:
    _, admission = store()
    large: list[AnyEntity] = [vm(8, number) for number in range(MANY)]
    ended = run(beside(admission, [*large, rule("r", "red")], admission.diff([rule("b", "blue")], [])))
    assert kinds(ended) == [1, MANY + 1]
    _, admission = store()
    rules: list[AnyEntity] = [rule(f"r{number}", "red") for number in range(MANY)]
    assert kinds(run(beside(admission, rules, admission.diff([rule("b", "red")], [])))) == [MANY, 1]


@pytest.mark.parametrize(("count", "order"), [(SMALL, [SMALL, MANY]), (SMALL + 1, [MANY, SMALL + 1])])
def test_a_request_of_200_is_small_and_one_of_201_is_not(count: int, order: list[int]) -> None:
    assert SMALL == 200
    _, admission = store()
    small = [vm(7, number) for number in range(count)]
    assert kinds(run(beside(admission, [vm(8, number) for number in range(MANY)], admission.diff(small, [])))) == order


def test_many_removals_are_a_large_request() -> None:
    async def story() -> list[str]:
        fabric, admission = store()
        fabric.diff([vm(8, number) for number in range(MANY)], [])
        ended: list[str] = []

        async def watch(name: str, what: Awaitable[object]) -> None:
            await what
            ended.append(name)

        removals = [("VM", f"red-{number}") for number in range(MANY)]
        first = asyncio.create_task(watch("many", admission.diff([], removals)))
        await asyncio.sleep(0)
        await asyncio.gather(first, watch("few", admission.diff([vm(7, 0)], [])))
        assert len(fabric.listed("VM")["entities"]) == 1
        return ended

    assert run(story()) == ["few", "many"]


def test_small_requests_are_taken_in_at_once_and_in_their_order() -> None:
    async def story() -> None:
        fabric, admission = store()
        changes = await asyncio.gather(admission.diff([vm(7, 0)], []), admission.diff([vm(8, 0)], []))
        assert [one.version for one in changes] == [2, 3]
        gone = await admission.diff([vm(7, 1)], [("VM", "red-0")], 3)
        assert (gone.added, gone.removed) == ((vm(7, 1),), (vm(8, 0),))

    run(story())


def test_a_large_request_for_another_version_is_refused_and_one_for_this_is_not_divided() -> None:
    async def story() -> None:
        fabric, admission = store()
        large = [vm(8, number) for number in range(MANY)]
        with pytest.raises(RunError, match="expects version 5"):
            await admission.diff(large, [], 5)
        ended = await beside(admission, [*large], admission.diff([vm(7, 0)], []), expected=1)
        assert kinds(ended) == [MANY, 1]
        assert fabric.version == 3

    run(story())


def test_a_version_that_is_expected_is_that_of_whole_requests() -> None:
    _, admission = store()
    large = [vm(8, number) for number in range(MANY)]
    ended = run(beside(admission, [*large], admission.diff([vm(7, 0)], [], 1)))
    assert versions(ended) == [2, None]
    assert isinstance(ended[1], RunError)


def test_a_large_request_that_is_refused_leaves_what_went_between() -> None:
    fabric, admission = store()
    large: list[AnyEntity] = [vm(8, number) for number in range(MANY)]
    large[-1] = vm(8, MANY, host="nowhere")
    fabric.diff([vm(8, 3)], [])
    before = fabric.listed("")["entities"]
    first, second = run(beside(admission, large, admission.diff([vm(7, 0)], [])))
    assert first.added == (vm(7, 0),)  # type: ignore[attr-defined]
    assert isinstance(second, EntityError)
    assert second.where == f"VM/red-{MANY}.host"
    left = [document for document in fabric.listed("")["entities"] if document["name"] != "blue-0"]
    assert sorted(map(str, left)) == sorted(map(str, before))
    assert fabric.version == 3


def test_a_large_request_that_is_given_up_leaves_nothing() -> None:
    async def give_up() -> None:
        fabric, admission = store()
        large = [vm(8, number) for number in range(MANY)]
        task = asyncio.create_task(admission.diff(large, []))
        for _ in range(MANY // 100 + 10):
            await asyncio.sleep(0)
        assert len(fabric.entities) > 100
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (len(fabric.entities), fabric.version) == (5, 1)
        assert len((await admission.diff(large, [])).added) == MANY

    run(give_up())


def test_who_looks_sees_whole_requests() -> None:
    async def look() -> None:
        fabric, admission = store()
        task = asyncio.create_task(admission.diff([vm(8, number) for number in range(MANY)], []))
        await asyncio.sleep(0)
        async with admission.exclusive():
            assert len(fabric.listed("VM")["entities"]) == MANY
        assert (await task).version == 2

    run(look())


def test_nothing_goes_between_what_is_done_alone() -> None:
    async def story() -> None:
        fabric, admission = store()
        await admission.diff([vm(8, number) for number in range(MANY)], [])
        async with admission.exclusive():
            small = asyncio.create_task(admission.diff([vm(7, 0)], []))
            await turns()
            assert fabric.version == 2
        assert (await small).version == 3

    run(story())
