"""An accepted request, cut into pieces that may be programmed one after the other (paper section 3.1).

The pieces of a network keep their order, those of two networks have none. What cannot be cut so that every
piece leaves a whole intent behind stays in one; what concerns all networks is no network's. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

from controllers.fm.intent_store import Changes
from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, Network

_T = TypeVar("_T")
SLICE = 64  # entities in a piece: a few ms of work

# What stands on what: an entity comes after those before it here, and goes before them.
_RANK = {"Network": 0, "Subnetwork": 1, "VM": 2}


def network_of(entity: AnyEntity) -> str | None:
    """The network that an entity is a part of; None for hosts and Hoverboards."""
    if isinstance(entity, Host | Hoverboard):
        return None
    return entity.name if isinstance(entity, Network) else entity.network


def claims(changes: Changes) -> set[Hashable]:
    """What no two requests may hold in different queues at once: names of any type, and VNIs."""
    found: set[Hashable] = {(entity.TYPE, entity.name) for entity in _all(changes)}
    for entity in _all(changes):
        if isinstance(entity, Network):
            found.add(entity.vni)
    return found


def cut(changes: Changes, size: int = SLICE) -> dict[str, list[Changes]] | None:
    """The pieces by network, in order; None where the request concerns more than each network for itself."""
    if not changes.changed and {type(entity) for entity in _all(changes)} == {VM}:
        return _cut_vms(changes, size)  # the usual large request; the same as below, in less time
    if any(network_of(entity) is None for entity in _all(changes)):
        return None
    if any(network_of(before) != network_of(after) for before, after in changes.changed):
        return None
    vnis: dict[int, str] = {}
    for entity in _all(changes):
        if isinstance(entity, Network) and vnis.setdefault(entity.vni, entity.name) != entity.name:
            return None  # a VNI goes from one network to another
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
        # An address, a name or a next hop may go from one entity to another within the request.
        yield Changes(version, tuple(added), tuple(changed), tuple(removed))


def _rank(entity: AnyEntity) -> int:
    return _RANK.get(entity.TYPE, len(_RANK))


def _stays_put(before: AnyEntity, after: AnyEntity) -> bool:
    """Whether nothing else of the request can depend on what this change leaves or takes."""
    place = _place(before)
    return place is not None and place == _place(after)


def _place(entity: AnyEntity) -> tuple[object, ...] | None:
    """What a VM has for itself; None for anything else."""
    return (entity.network, entity.ip, entity.ip6, entity.mac) if isinstance(entity, VM) else None


def _batches(items: Sequence[_T], size: int) -> Iterator[tuple[_T, ...]]:
    return (tuple(items[at : at + size]) for at in range(0, len(items), size))


def _all(changes: Changes) -> Iterator[AnyEntity]:
    yield from changes.added
    yield from changes.removed
    for before, after in changes.changed:
        yield before
        yield after
