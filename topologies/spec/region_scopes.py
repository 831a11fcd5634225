"""The part of the intent that each control plane of a region gets (paper section 3.5). Pure.

A regional plane gets the hosts and VMs of its region, with their routes and load balancers. A global plane gets all
VMs. Each gets the Hoverboards of its own region only. A load balancer, or a routed prefix, has its VMs in one region.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hoverboard.contract.entities import VM, AnyEntity, Host, Hoverboard, LoadBalancer, Route
from hoverboard.contract.errors import InputError


@dataclass(frozen=True, slots=True)
class PlaneScope:
    """The scope of a control plane.

    Attributes:
        kind: "whole": everything; "regional": traffic within a region; "global": traffic between regions.
        region: name of the region; "" for "whole".
    """

    kind: Literal["whole", "regional", "global"] = "whole"
    region: str = ""

    @property
    def process(self) -> str:
        """Name of its process."""
        return "control plane" if self.kind == "whole" else f"{self.kind} {self.region} control plane"

    @property
    def options(self) -> list[str]:
        """Its arguments for `python -m controllers`."""
        return [] if self.kind == "whole" else ["--scope", self.kind, "--region", self.region]

    def share(self, entities: Iterable[AnyEntity]) -> list[AnyEntity]:
        """The entities that the control plane gets, of all `entities`."""
        entities = list(entities)
        if self.kind == "whole":
            return entities
        regions = region_by_node(entities)
        return [entity for entity in entities if self.includes(entity, regions)]

    def includes(self, entity: AnyEntity, regions: dict[str, str | None]) -> bool:
        """Whether the control plane gets `entity`.

        Args:
            entity: the entity.
            regions: as `region_by_node` gives them.
        """
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
    """Check that each load balancer, and each routed prefix, has all its VMs in one region.

    Otherwise no regional plane would have all of it.

    Raises:
        InputError: the backends of a load balancer, or the next hops of a prefix, are in two regions.
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
            step = "choose VMs of one region"
            raise InputError(f"{what}: the VMs are in {named}, and must be in one region", where="wan", next_step=step)
