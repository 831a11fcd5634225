"""A change of several control planes: planned by each, then written by all or by none (docs/regions.md).

There is no transaction over several fabric managers. What stands for one: first every plane plans the change. Then
each applies it in turn. If one refuses, the others are told the opposite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controllers.dry_run import plan_document
from controllers.fm.intent_store import Changes
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import HoverboardError, RunError
from topologies.cluster.cluster_management import Entities
from topologies.cluster.global_plane import GlobalPlane
from topologies.cluster.manager import ClusterManager
from topologies.spec.region_scopes import check_undivided, places_of

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import FlowCounts, Plan, PlannedPlane


_GLOBAL_TIMEOUT = 5.0  # seconds that a global plane is waited for; what it has not heard by then it is told later


@dataclass(frozen=True, slots=True)
class Part:
    """One plane's part of a change.

    Attributes:
        upsert, remove: what it is told.
        undo: what it would be told to have it back: (upsert, remove).
    """

    plane: ClusterManager
    upsert: tuple[AnyEntity, ...]
    remove: tuple[AnyEntity, ...]
    undo: tuple[tuple[AnyEntity, ...], tuple[AnyEntity, ...]] = field(repr=False)

    def __bool__(self) -> bool:
        return bool(self.upsert or self.remove)

    def plan(self) -> Plan:
        """What the plane says would come of it.

        Raises:
            EntityError: it refuses.
            RunError: it does not answer.
        """
        if not isinstance(self.plane, GlobalPlane):
            return self.plane.plan(self.upsert, self.remove)
        self.plane.catch_up(_GLOBAL_TIMEOUT)
        return self.plane.client.plan(self.upsert, self.remove, timeout=_GLOBAL_TIMEOUT)


def parts_of(
    planes: Sequence[ClusterManager], before: Entities, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]
) -> list[Part]:
    """Who is told what; planes that are told nothing are left out.

    Args:
        before: everything there is, of all regions.

    Raises:
        InputError: what rests on several VMs would be in two regions.
    """
    after = _after(before, upsert, remove)
    check_undivided(after.values())
    places, old_places = places_of(after.values()), places_of(before.values())
    made = []
    for plane in planes:
        # Not what it has heard so far: a global plane may be behind.
        known = {key: entity for key, entity in before.items() if plane.scope.told(entity, old_places)}
        told = tuple(entity for entity in upsert if plane.scope.told(entity, places))
        moved = {(entity.TYPE, entity.name) for entity in upsert} - {(entity.TYPE, entity.name) for entity in told}
        keys = moved | {(entity.TYPE, entity.name) for entity in remove}
        gone = tuple(known[key] for key in known if key in keys)
        old = (known.get((entity.TYPE, entity.name)) for entity in told)
        restored = (*gone, *(entity for entity in old if entity is not None))
        new = tuple(entity for entity in told if (entity.TYPE, entity.name) not in known)
        made.append(Part(plane, told, gone, (restored, new)))
    return [part for part in made if part]


def _after(before: Entities, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Entities:
    gone = {(entity.TYPE, entity.name) for entity in remove}
    kept = {key: entity for key, entity in before.items() if key not in gone}
    return kept | {(entity.TYPE, entity.name): entity for entity in upsert}


def plan(parts: Sequence[Part], before: Entities, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
    """What would come of a change: of one plane's plan, and {"planes": [{"region", "scope", "version"}]}.

    A global plane that does not answer is in "planes" with version None, and its flows are not in "switches".

    Raises:
        EntityError: a plane refuses it.
        RunError: a regional plane does not answer.
    """
    switches: dict[str, FlowCounts] = {}
    rows = []
    with ThreadPoolExecutor(max(1, len(parts)), thread_name_prefix="plans") as pool:
        answers = [(part, pool.submit(part.plan)) for part in parts]
    for part, answer in answers:
        row: PlannedPlane = {"region": part.plane.scope.region, "scope": part.plane.scope.kind, "version": None}
        rows.append(row)
        try:
            found = answer.result()
        except RunError:
            if not isinstance(part.plane, GlobalPlane):
                raise
            continue
        row["version"] = found["version"]
        for name, flows in found["switches"].items():
            total = switches.get(name, {"added": 0, "changed": 0, "removed": 0})
            switches[name] = {
                "added": total["added"] + flows["added"],
                "changed": total["changed"] + flows["changed"],
                "removed": total["removed"] + flows["removed"],
            }
    pairs = [(before.get((entity.TYPE, entity.name)), entity) for entity in upsert]
    changes = Changes(
        0,
        tuple(new for old, new in pairs if old is None),
        tuple((old, new) for old, new in pairs if old is not None and old != new),
        tuple(remove),
    )
    versions = [row["version"] for row in rows if row["scope"] == "regional" and row["version"] is not None]
    return {**plan_document(changes, max(versions, default=0), dict(sorted(switches.items()))), "planes": rows}


def write(parts: Sequence[Part], planned: Plan) -> int:
    """Tell all planes, regional ones first; the highest version of a regional one after it.

    Args:
        planned: the plan that was made for it.

    Raises:
        HoverboardError: a plane has refused it, or a regional one is away; those before were told the opposite.
    """
    rows = {(row["region"], row["scope"]): row for row in planned["planes"]}
    told: list[Part] = []
    versions = [0]
    try:
        for part in parts:
            if not isinstance(part.plane, GlobalPlane):
                scope = part.plane.scope
                versions.append(part.plane.change(part.upsert, part.remove, rows[scope.region, scope.kind]))
                told.append(part)
        _write_globals([part for part in parts if isinstance(part.plane, GlobalPlane)], rows, told)
    except HoverboardError:
        for part in reversed(told):
            part.plane.take_back(*part.undo)
        raise
    return max(versions)


def _write_globals(parts: Sequence[Part], rows: Mapping[tuple[str, str], PlannedPlane], told: list[Part]) -> None:
    """Tell the global planes, and wait for those that had a plan."""
    telling: list[tuple[Part, Future[None]]] = []
    for part in parts:
        assert isinstance(part.plane, GlobalPlane)
        telling.append((part, part.plane.notify_change(part.upsert, part.remove)))
    planned = [heard for part, heard in telling if rows[part.plane.scope.region, "global"]["version"] is not None]
    wait(planned, _GLOBAL_TIMEOUT)
    refusals = []
    for part, heard in telling:
        refusal = heard.exception() if heard.done() else None
        if refusal is not None:
            refusals.append(refusal)
        else:
            told.append(part)
    if refusals:
        raise refusals[0]
