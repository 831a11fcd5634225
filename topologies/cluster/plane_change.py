"""Changes the intent of several control planes (docs/regions.md).

There is no transaction over several fabric managers. Instead, every plane plans the change first. Then each applies it
in turn. If one rejects it, the planes that have applied it roll back. A global plane may apply its part later. If it
rejects its part then, nothing is rolled back, and the status shows it.
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
from topologies.spec.region_scopes import check_same_region, region_by_node

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import FlowCounts, Plan, PlannedPlane


_GLOBAL_TIMEOUT = 5.0  # seconds to wait for a global plane; it applies later what it has not applied by then


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a change for one plane.

    Attributes:
        upsert, remove: entities to send.
        undo: (upsert, remove) that roll it back.
    """

    plane: ClusterManager
    upsert: tuple[AnyEntity, ...]
    remove: tuple[AnyEntity, ...]
    undo: tuple[tuple[AnyEntity, ...], tuple[AnyEntity, ...]] = field(repr=False)

    def __bool__(self) -> bool:
        return bool(self.upsert or self.remove)

    def plan(self) -> Plan:
        """The plan of the plane for its part.

        Raises:
            EntityError: it rejects the change.
            RunError: it does not answer.
        """
        if not isinstance(self.plane, GlobalPlane):
            return self.plane.plan(self.upsert, self.remove)
        self.plane.flush(_GLOBAL_TIMEOUT)
        return self.plane.client.plan(self.upsert, self.remove, timeout=_GLOBAL_TIMEOUT)


def split_change(
    planes: Sequence[ClusterManager], before: Entities, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]
) -> list[Part]:
    """Split a change into the parts of the planes; planes without a part are left out.

    Args:
        planes: the control planes.
        before: the intent of all regions before the change.
        upsert: entities to add or change.
        remove: entities to remove.

    Raises:
        InputError: a load balancer, or routes of one prefix, would have VMs in two regions.
    """
    after = _after(before, upsert, remove)
    check_same_region(after.values())
    regions, old_regions = region_by_node(after.values()), region_by_node(before.values())
    made = []
    for plane in planes:
        # Taken from the intent, not from the plane: a global plane may be behind.
        known = {key: entity for key, entity in before.items() if plane.scope.includes(entity, old_regions)}
        wanted = tuple(entity for entity in upsert if plane.scope.includes(entity, regions))
        moved = {(entity.TYPE, entity.name) for entity in upsert} - {(entity.TYPE, entity.name) for entity in wanted}
        keys = moved | {(entity.TYPE, entity.name) for entity in remove}
        gone = tuple(known[key] for key in known if key in keys)
        old = (known.get((entity.TYPE, entity.name)) for entity in wanted)
        restored = (*gone, *(entity for entity in old if entity is not None))
        new = tuple(entity for entity in wanted if (entity.TYPE, entity.name) not in known)
        made.append(Part(plane, wanted, gone, (restored, new)))
    return [part for part in made if part]


def _after(before: Entities, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Entities:
    gone = {(entity.TYPE, entity.name) for entity in remove}
    kept = {key: entity for key, entity in before.items() if key not in gone}
    return kept | {(entity.TYPE, entity.name): entity for entity in upsert}


def plan(parts: Sequence[Part], before: Entities, upsert: Sequence[AnyEntity], remove: Sequence[AnyEntity]) -> Plan:
    """Plan a change with all planes of `parts`.

    A global plane that does not answer is in "planes" with version None, and its flows are not in "switches".

    Returns:
        The same document as for one plane, and {"planes": [{"region", "scope", "version"}]}.

    Raises:
        EntityError: a plane rejects the change.
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


def apply(parts: Sequence[Part], planned: Plan) -> int:
    """Apply a change: regional planes first, then the global ones.

    Args:
        parts: the change, split by plane.
        planned: the plan of this change.

    Returns:
        The highest version of a regional plane after the change.

    Raises:
        HoverboardError: a plane rejected the change, or a regional plane does not answer; the others have rolled back.
    """
    rows = {(row["region"], row["scope"]): row for row in planned["planes"]}
    applied: list[Part] = []
    versions = [0]
    try:
        for part in parts:
            if not isinstance(part.plane, GlobalPlane):
                scope = part.plane.scope
                versions.append(part.plane.change(part.upsert, part.remove, rows[scope.region, scope.kind]))
                applied.append(part)
        _apply_to_globals([part for part in parts if isinstance(part.plane, GlobalPlane)], rows, applied)
    except HoverboardError:
        for part in reversed(applied):
            part.plane.roll_back(*part.undo)
        raise
    return max(versions)


def _apply_to_globals(parts: Sequence[Part], rows: Mapping[tuple[str, str], PlannedPlane], applied: list[Part]) -> None:
    """Send their parts to the global planes; wait for those that had a plan. Add to `applied` what is not rejected."""
    pending: list[tuple[Part, Future[None]]] = []
    for part in parts:
        assert isinstance(part.plane, GlobalPlane)
        pending.append((part, part.plane.notify_change(part.upsert, part.remove)))
    planned = [answer for part, answer in pending if rows[part.plane.scope.region, "global"]["version"] is not None]
    wait(planned, _GLOBAL_TIMEOUT)
    refusals = []
    for part, answer in pending:
        refusal = answer.exception() if answer.done() else None
        if refusal is not None:
            refusals.append(refusal)
        else:
            applied.append(part)
    if refusals:
        raise refusals[0]
