"""Cuts an accepted request into pieces that may be programmed one after the other (paper section 3.1). Pure.

Pieces of one network keep their order; pieces of different networks have no order. Each piece must leave a consistent
intent: what cannot be cut that way stays in one piece. A request that affects all networks is not cut.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

from controllers.fm.intent_store import Changes
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network

_T = TypeVar("_T")
SLICE = 64  # entities in a piece: a few ms of work

# An entity is added after the types before its own, to which it refers, and removed before them.
_RANK = {"Network": 0, "Subnetwork": 1, "VM": 2}


def network_of(entity: AnyEntity) -> str | None:
    """The network of an entity; None for hosts and Hoverboards."""
    if isinstance(entity, Host | Hoverboard):
        return None
    return entity.name if isinstance(entity, Network) else entity.network


def claims(changes: Changes) -> set[Hashable]:
    """Names of all types, and VNIs: no two requests in different queues may have one in common."""
    found: set[Hashable] = {(entity.TYPE, entity.name) for entity in _all(changes)}
    for entity in _all(changes):
        if isinstance(entity, Network):
            found.add(entity.vni)
    return found


def cut(changes: Changes, size: int = SLICE) -> dict[str, list[Changes]] | None:
    """The pieces by network, in order; None if the request affects networks together."""
    if not changes.changed and {type(entity) for entity in _all(changes)} == {VM}:
        return _cut_vms(changes, size)  # the usual large request; the same result as below, in less time
    if any(network_of(entity) is None for entity in _all(changes)):
        return None
    if any(network_of(before) != network_of(after) for before, after in changes.changed):
        return None
    vnis: dict[int, str] = {}
    for entity in _all(changes):
        if isinstance(entity, Network) and vnis.setdefault(entity.vni, entity.name) != entity.name:
            return None  # a VNI moves from one network to another
    parts: dict[str, tuple[list[AnyEntity], list[tuple[AnyEntity, AnyEntity]], list[AnyEntity]]] = {}

    def part(entity: AnyEntity) -> tuple[list[AnyEntity], list[tuple[AnyEntity, AnyEntity]], list[AnyEntity]]:
        network = network_of(entity)
        assert network is not None
        return parts.setdefault(network, ([], [], []))

    for entity in changes.added:
        part(entity)[0].append(entity)
    for before, after in changes.changed:
        part(before)[1].append((before, after))
    for entity in changes.removed:
        part(entity)[2].append(entity)
    return {network: list(_pieces(changes.version, *lists, size)) for network, lists in parts.items()}


def _cut_vms(changes: Changes, size: int) -> dict[str, list[Changes]]:
    added: dict[str, list[AnyEntity]] = {}
    removed: dict[str, list[AnyEntity]] = {}
    for entities, by_network in ((changes.added, added), (changes.removed, removed)):
        for entity in entities:
            assert isinstance(entity, VM)
            by_network.setdefault(entity.network, []).append(entity)
    return {
        network: list(_pieces(changes.version, added.get(network, []), [], removed.get(network, []), size))
        for network in (added | removed)
    }


def _pieces(
    version: int, added: list[AnyEntity], changed: list[tuple[AnyEntity, AnyEntity]], removed: list[AnyEntity],
    size: int,
) -> Iterator[Changes]:  # fmt: skip
    kinds = sum(map(bool, (added, changed, removed)))
    if kinds == 1 and added:
        for piece in _batches(sorted(added, key=_rank), size):
            yield Changes(version, added=piece)
    elif kinds == 1 and removed:
        for piece in _batches(sorted(removed, key=_rank, reverse=True), size):
            yield Changes(version, removed=piece)
    elif kinds == 1 and all(_stays_put(*pair) for pair in changed):
        for pairs in _batches(changed, size):
            yield Changes(version, changed=pairs)
    else:
        # An address, a name or a next hop may move from one entity to another within the request.
        yield Changes(version, tuple(added), tuple(changed), tuple(removed))


def _rank(entity: AnyEntity) -> int:
    return _RANK.get(entity.TYPE, len(_RANK))


def _stays_put(before: AnyEntity, after: AnyEntity) -> bool:
    """Whether the change keeps every unique value, so that nothing else in the request depends on it."""
    place = _place(before)
    return place is not None and place == _place(after)


def _place(entity: AnyEntity) -> tuple[object, ...] | None:
    """The unique values of a VM; None for anything else."""
    return (entity.network, entity.ip, entity.ip6, entity.mac) if isinstance(entity, VM) else None


def _batches(items: Sequence[_T], size: int) -> Iterator[tuple[_T, ...]]:
    return (tuple(items[at : at + size]) for at in range(0, len(items), size))


def _all(changes: Changes) -> Iterator[AnyEntity]:
    yield from changes.added
    yield from changes.removed
    for before, after in changes.changed:
        yield before
        yield after
