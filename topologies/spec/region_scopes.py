"""What a control plane of a region is told of the whole: of all, or of its region only (paper section 3.5).

A regional plane knows the VMs of its region and what rests on them; a global one knows all VMs, and of the
gateways only its own region's. Every load balancer, and every routed prefix, is in one region whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, LoadBalancer, Route
from hoverboard.contract.errors import InputError


@dataclass(frozen=True, slots=True)
class PlaneScope:
    """One control plane's part: all there is ("whole"), what is within a region, or what crosses its border."""

    kind: Literal["whole", "regional", "global"] = "whole"
    region: str = ""

    @property
    def process(self) -> str:
        """What its process is called."""
        return "control plane" if self.kind == "whole" else f"{self.kind} {self.region} control plane"

    @property
    def options(self) -> list[str]:
        """Its arguments of `python -m controllers`."""
        return [] if self.kind == "whole" else ["--scope", self.kind, "--region", self.region]

    def share(self, entities: Iterable[AnyEntity]) -> list[AnyEntity]:
        """What of all entities it is told."""
        entities = list(entities)
        if self.kind == "whole":
            return entities
        regions = region_by_node(entities)
        return [entity for entity in entities if self.includes(entity, regions)]

    def includes(self, entity: AnyEntity, regions: dict[str, str | None]) -> bool:
        """Whether it is told of an entity; `regions`: region of each host and VM by name."""
        if isinstance(entity, Hoverboard):
            return entity.region == self.region
        if self.kind == "global":
            return True
        match entity:
            case Host():
                return entity.region == self.region
            case VM():
                return regions.get(f"Host {entity.host}") == self.region
            case Route():
                return regions.get(f"VM {entity.next_hop}") == self.region
            case LoadBalancer():
                return regions.get(f"VM {entity.backends[0]}") == self.region
            case _:
                return True


WHOLE = PlaneScope()


def region_by_node(entities: Iterable[AnyEntity]) -> dict[str, str | None]:
    """Region of each host and each VM, by "Host NAME" and "VM NAME"."""
    entities = list(entities)
    regions = {f"Host {one.name}": one.region for one in entities if isinstance(one, Host)}
    vms = {f"VM {one.name}": regions.get(f"Host {one.host}") for one in entities if isinstance(one, VM)}
    return {**regions, **vms}


def check_same_region(entities: Iterable[AnyEntity]) -> None:
    """What rests on several VMs must be in one region: else no one plane would have it whole.

    Raises:
        InputError: a load balancer's backends, or next hops of one prefix, are in two.
    """
    entities = list(entities)
    regions = region_by_node(entities)
    regions_of: dict[str, set[str | None]] = {}
    for entity in entities:
        match entity:
            case Route():
                what = f"routes of {entity.prefix} in network {entity.network}"
                regions_of.setdefault(what, set()).add(regions.get(f"VM {entity.next_hop}"))
            case LoadBalancer():
                regions_of[f"load balancer {entity.name}"] = {
                    regions.get(f"VM {backend}") for backend in entity.backends
                }
    for what, found in regions_of.items():
        if len(found) > 1:
            named = " and ".join(sorted(str(region) for region in found))
            raise InputError(f"{what}: VMs in {named}", where="wan", next_step="use VMs of one region for all of it")
