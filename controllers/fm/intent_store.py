"""The fabric manager's store: the validated intent of one cluster (paper section 3.1).

A full update replaces everything, a diff changes a part. Each is applied whole or not at all. Its cost depends on the
size of the change, not of the store. The result is the change set for the VM controllers. No I/O; knows neither
switches nor programming models.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from controllers.fm.codec import entity_document
from controllers.fm.index import EntityKey, FabricIndex, entity_where, key_of
from controllers.fm.rejections import check_ip6, in_use, is_gateway, overlap, rate_rejected, unknown_type
from hoverboard.contract.encapsulation import GATEWAY_MAC
from hoverboard.contract.entities import (
    ENTITY_TYPES,
    VM,
    AnyEntity,
    FirewallRule,
    Host,
    Hoverboard,
    LoadBalancer,
    Network,
    Route,
    Subnetwork,
)
from hoverboard.contract.errors import EntityError, RunError

_STEP = 100  # entities checked in one step, before other requests may run: about a ms


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one accepted request; `changed` holds (before, after)."""

    version: int
    added: tuple[AnyEntity, ...] = ()
    changed: tuple[tuple[AnyEntity, AnyEntity], ...] = ()
    removed: tuple[AnyEntity, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class IntentStore:
    """The entities of one cluster.

    Attributes:
        version: grows by one with each request that changes something, and with the first full update.
        synced: a full update was accepted; a diff before it is rejected.
    """

    def __init__(self) -> None:
        self.version = 0
        self.synced = False
        self._index = FabricIndex()

    @property
    def entities(self) -> dict[EntityKey, AnyEntity]:
        """All entities by (type, name); not to be modified."""
        return self._index.entities

    def listed(self, kind: str) -> dict[str, Any]:
        """{"version", "entities"}: the entities of a type, or of all types ("").

        Raises:
            EntityError: the type does not exist.
        """
        if kind and kind not in ENTITY_TYPES:
            raise unknown_type(kind, "")
        found = [entity_document(entity) for entity in self.entities.values() if kind in ("", entity.TYPE)]
        return {"version": self.version, "entities": found}

    def expect(self, version: int | None) -> None:
        """Reject a request that expects a version other than the present one; None: any version.

        Raises:
            RunError: another request has changed the intent since.
        """
        if version is not None and version != self.version:
            raise RunError(
                f"the configuration is at version {self.version}, but the request expects version {version}",
                where="fabric manager", next_step="read the present state, and send a new request with its version",
            )  # fmt: skip

    def full_update(self, entities: Sequence[AnyEntity], expected: int | None = None) -> Changes:
        """Replace the whole configuration.

        Args:
            entities: the new configuration; every entity that is not in it is removed.
            expected: the version that the request expects; None: any.

        Raises:
            EntityError: an entity is wrong, or does not fit the others; nothing was changed.
            RunError: the version is not the expected one.
        """
        self.expect(expected)
        given = {key_of(entity) for entity in entities}
        gone = [key for key in self._index.entities if key not in given]
        changes = _run(self._apply(entities, gone, first=not self.synced))
        self.synced = True
        return changes

    def diff(self, upsert: Sequence[AnyEntity], remove: Iterable[EntityKey], expected: int | None = None) -> Changes:
        """Change a part of the configuration; the same diff a second time changes nothing.

        Args:
            upsert: entities to add, or to change if their type and name exist.
            remove: (type, name) of each entity to remove.
            expected: the version that the request expects; None: any.

        Raises:
            RunError: there was no full update yet, or the version is not the expected one.
            EntityError: as for `full_update`.
        """
        return _run(self.diff_in_steps(upsert, remove, expected))

    def diff_in_steps(
        self, upsert: Sequence[AnyEntity], remove: Iterable[EntityKey], expected: int | None = None
    ) -> Generator[None, None, Changes]:
        """Apply a diff step by step; between two steps, other requests may change what this one does not affect.

        `controllers.fm.admission` decides which requests those are.
        """
        if not self.synced:
            raise RunError(
                "a diff came before the first full update", where="fabric manager",
                next_step="send the whole configuration (FullUpdate) before diffs",
            )  # fmt: skip
        self.expect(expected)
        removed = list(remove)
        for kind, name in removed:
            if kind not in ENTITY_TYPES:
                raise unknown_type(kind, name)
        both = set(removed) & {key_of(entity) for entity in upsert}
        if both:
            kind, name = min(both)
            raise EntityError(
                "the request both sets and removes it",
                where=f"{kind}/{name}.name",
                next_step="send the removal and the new entity in two requests, or only the new entity",
            )
        return (yield from self._apply(upsert, removed, first=False))

    def trial(self, upsert: Sequence[AnyEntity], remove: Iterable[EntityKey], expected: int | None = None) -> Changes:
        """The changes that `diff` would make; nothing is changed.

        Raises:
            As `diff`.
        """
        version = self.version
        changes = self.diff(upsert, remove, expected)
        for entity in (*changes.added, *(after for _, after in changes.changed)):
            self._index.remove(entity)
        for entity in (*changes.removed, *(before for before, _ in changes.changed)):
            self._index.add(entity)
        self.version = version
        return changes

    def _apply(
        self, upsert: Sequence[AnyEntity], remove: Sequence[EntityKey], *, first: bool
    ) -> Generator[None, None, Changes]:
        entities = self._index.entities
        seen: set[EntityKey] = set()
        added: list[AnyEntity] = []
        changed: list[tuple[AnyEntity, AnyEntity]] = []
        for entity in upsert:
            if not len(seen) % _STEP:
                yield
            key = key_of(entity)
            if key in seen:
                raise EntityError(
                    f"the request names {key[0]} {key[1]!r} twice",
                    where=entity_where(entity, "name"),
                    next_step="give each entity of a type a different name",
                )
            seen.add(key)
            before = entities.get(key)
            if before is None:
                added.append(entity)
            elif before != entity:
                changed.append((before, entity))
        removed = [entities[key] for key in dict.fromkeys(remove) if key in entities]
        yield from self._replace(removed + [old for old, _ in changed], added + [new for _, new in changed])
        if removed or added or changed or first:
            self.version += 1
        return Changes(self.version, tuple(added), tuple(changed), tuple(removed))  # tour: vm 4

    def _replace(self, old: Sequence[AnyEntity], new: Sequence[AnyEntity]) -> Generator[None, None, None]:
        """Remove `old` and add `new`; on an error or cancellation, restore everything and raise."""
        taken: list[AnyEntity] = []
        placed: list[AnyEntity] = []
        try:
            for entity in old:
                self._index.remove(entity)
                taken.append(entity)
                if not len(taken) % _STEP:
                    yield
            for entity in new:
                self._index.add(entity)
                placed.append(entity)
                if not len(placed) % _STEP:
                    yield
            for at, entity in enumerate(new):
                self._check(entity)
                if not at % _STEP:
                    yield
            for at, entity in enumerate(old):
                self._check_references_to(entity)
                if not at % _STEP:
                    yield
        except BaseException:
            for entity in reversed(placed):
                self._index.remove(entity)
            for entity in reversed(taken):
                self._index.add(entity)
            raise

    def _check(self, entity: AnyEntity) -> None:
        match entity:
            case Subnetwork():
                self._check_subnetwork(entity)
            case VM():
                self._check_vm(entity)
            case Route():
                self._check_route(entity)
            case FirewallRule():
                self._network_of(entity)
            case LoadBalancer():
                self._check_balancer(entity)
            case Network() if entity.rate_bps:
                raise rate_rejected(entity)
            case Network() | Host() | Hoverboard():
                pass

    def _network_of(self, entity: Subnetwork | VM | Route | FirewallRule | LoadBalancer) -> None:
        if ("Network", entity.network) not in self._index.entities:
            raise EntityError(
                f"network {entity.network!r} does not exist",
                where=entity_where(entity, "network"),
                next_step="add the Network in the same request, or name an existing one",
            )

    def _check_subnetwork(self, subnetwork: Subnetwork) -> None:
        self._network_of(subnetwork)
        for other in self._index.subnetworks.get(subnetwork.network, {}).values():
            if other.name == subnetwork.name:
                continue
            one6, two6 = subnetwork.prefix6, other.prefix6
            if other.prefix.overlaps(subnetwork.prefix):
                raise overlap(subnetwork, "prefix", subnetwork.prefix, other.prefix, other)
            if one6 is not None and two6 is not None and one6.overlaps(two6):
                raise overlap(subnetwork, "prefix6", one6, two6, other)
        for route in self._index.routes_of_network.get(subnetwork.network, {}).values():
            if route.prefix.overlaps(subnetwork.prefix):
                raise EntityError(
                    f"{subnetwork.prefix} overlaps {route.prefix} of Route {route.name!r}"
                    f" in network {subnetwork.network!r}",
                    where=entity_where(subnetwork, "prefix"),
                    next_step="remove the Route before or in the same request, or choose another prefix",
                )
        if subnetwork.gateway_address in (subnetwork.prefix.network_address, subnetwork.prefix.broadcast_address):
            raise EntityError(
                f"gateway {subnetwork.gateway_address} is the network or broadcast address of {subnetwork.prefix}",
                where=entity_where(subnetwork, "gateway"),
                next_step="choose an address in between",
            )
        holder = self._index.vm_by_address.get((subnetwork.network, subnetwork.gateway_address))
        if holder is not None:
            raise is_gateway(holder, holder.ip, subnetwork)

    def _check_vm(self, vm: VM) -> None:
        self._network_of(vm)
        if vm.rate_bps:
            raise rate_rejected(vm)
        if ("Host", vm.host) not in self._index.entities:
            a_hoverboard = ("Hoverboard", vm.host) in self._index.entities
            raise EntityError(
                f"{vm.host!r} is a Hoverboard, not a VM host" if a_hoverboard else f"host {vm.host!r} does not exist",
                where=entity_where(vm, "host"),
                next_step="add the Host in the same request, or name an existing one",
            )
        if vm.mac == GATEWAY_MAC:
            raise EntityError(
                f"{vm.mac} is the MAC of every network's gateway",
                where=entity_where(vm, "mac"),
                next_step="choose another MAC",
            )
        self._check_address(vm)

    def _check_address(self, vm: VM | LoadBalancer) -> None:
        subnetworks = self._index.subnetworks.get(vm.network, {}).values()
        home = next((subnetwork for subnetwork in subnetworks if vm.ip in subnetwork.prefix), None)
        if home is None:
            raise EntityError(
                f"{vm.ip} is in no subnetwork of network {vm.network!r}",
                where=entity_where(vm, "ip"),
                next_step="use an address of "
                + (", ".join(str(subnetwork.prefix) for subnetwork in subnetworks) or "a Subnetwork, and add one"),
            )
        if vm.ip == home.gateway_address:
            raise is_gateway(vm, vm.ip, home)
        if vm.ip in (home.prefix.network_address, home.prefix.broadcast_address):
            raise EntityError(
                f"{vm.ip} is the network or broadcast address of {home.prefix}",
                where=entity_where(vm, "ip"),
                next_step="choose an address in between",
            )
        if isinstance(vm, VM) and vm.ip6 is not None:
            check_ip6(vm, vm.ip6, home)

    def _check_route(self, route: Route) -> None:
        self._network_of(route)
        for subnetwork in self._index.subnetworks.get(route.network, {}).values():
            if route.prefix.overlaps(subnetwork.prefix):
                raise EntityError(
                    f"{route.prefix} overlaps {subnetwork.prefix} of Subnetwork {subnetwork.name!r}"
                    f" in network {route.network!r}",
                    where=entity_where(route, "prefix"),
                    next_step="choose a prefix outside the subnetworks: a route must not contain VMs' addresses",
                )
        self._check_next_hop(route)

    def _check_next_hop(self, route: Route) -> None:
        vm = self._index.entities.get(("VM", route.next_hop))
        if not isinstance(vm, VM) or vm.network != route.network:
            raise EntityError(
                f"{route.next_hop!r} is a VM of network {vm.network!r}, not of {route.network!r}"
                if isinstance(vm, VM)
                else f"VM {route.next_hop!r} does not exist",
                where=entity_where(route, "next_hop"),
                next_step=f"name a VM of network {route.network!r}, added in the same request or before",
            )

    def _check_balancer(self, balancer: LoadBalancer) -> None:
        self._network_of(balancer)
        self._check_address(balancer)
        for name in balancer.backends:
            vm = self._index.entities.get(("VM", name))
            if not isinstance(vm, VM) or vm.network != balancer.network:
                raise EntityError(
                    f"{name!r} is a VM of network {vm.network!r}, not of {balancer.network!r}"
                    if isinstance(vm, VM)
                    else f"VM {name!r} does not exist",
                    where=entity_where(balancer, "backends"),
                    next_step=f"name VMs of network {balancer.network!r}, added in the same request or before",
                )

    def _check_references_to(self, old: AnyEntity) -> None:
        """Check that everything that refers to `old`, which was removed or changed, is still valid."""
        index = self._index
        match old:
            case Network():
                if key_of(old) in index.entities:
                    return
                left: list[AnyEntity] = [
                    *index.subnetworks.get(old.name, {}).values(),
                    *index.vms_of_network.get(old.name, {}).values(),
                    *index.routes_of_network.get(old.name, {}).values(),
                    *index.rules_of_network.get(old.name, {}).values(),
                    *index.balancers_of_network.get(old.name, {}).values(),
                ]
                if left:
                    raise in_use(old, left)
            case Host():
                left_vms = list(index.vms_of_host.get(old.name, {}).values())
                if left_vms and key_of(old) not in index.entities:
                    raise in_use(old, left_vms)
            case VM():
                routes = list(index.routes_of_next_hop.get(old.name, {}).values())
                balancers = list(index.balancers_of_backend.get(old.name, {}).values())
                if (routes or balancers) and key_of(old) not in index.entities:
                    raise in_use(old, [*routes, *balancers])
                for route in routes:
                    self._check_next_hop(route)
                for balancer in balancers:
                    self._check_balancer(balancer)
            case Subnetwork():
                now = index.subnetworks.get(old.network, {}).get(old.name)
                if now is not None and (now.prefix, now.prefix6) == (old.prefix, old.prefix6):
                    return
                for vm in index.vms_of_network.get(old.network, {}).values():
                    if vm.ip in old.prefix:
                        self._check_address(vm)
                for balancer in index.balancers_of_network.get(old.network, {}).values():
                    self._check_address(balancer)
            case _:
                pass


def _run(steps: Generator[None, None, Changes]) -> Changes:
    """Take all steps; return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Changes, end.value)
