"""Checks the properties of links, the regions of a topology file, and the WAN link between two of them (paper 3.5).

With `wan`, each region has its own fabric and its own control planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import InputError
from hoverboard.contract.links.link_properties import LinkProperties
from hoverboard.contract.models import ModelFacts, choices
from topologies.spec.region_scopes import check_same_region
from topologies.spec.topology import ServerSpec
from topologies.spec.yaml_reader import Path

if TYPE_CHECKING:
    from topologies.spec.keys import LinkKeys, TopologyKeys

Report = Callable[[Path, str, str], None]


def resolve_link(keys: LinkKeys | None, path: Path, fault: Report) -> LinkProperties:
    """The properties of a link; none when it has no keys.

    Args:
        keys: the keys of the link.
        path: of these keys.
        fault: called with path, what is wrong, and what to do.
    """
    if keys is None:
        return LinkProperties()
    for key in ("jitter", "reorder"):
        if getattr(keys, key) and not keys.delay:
            fault((*path, key), "works only with a delay", "add `delay: 10ms`, or remove it")
    if keys.delay and keys.jitter > keys.delay:
        fault(
            (*path, "jitter"), "is more than the delay", "give at most the delay: no packet arrives before it is sent"
        )
    return LinkProperties(**keys.model_dump())


def resolve_wan(
    keys: TopologyKeys,
    model: ModelFacts | None,
    hosts: tuple[ServerSpec, ...],
    hoverboards: tuple[ServerSpec, ...],
    fault: Report,
) -> LinkProperties | None:
    """The WAN link between two regions; None when the file has no `wan`, or its regions have a fault.

    Args:
        keys: the keys of the file.
        model: facts of the programming model; None when it was not found.
        hosts: the resolved hosts.
        hoverboards: the resolved Hoverboards, in the order of the file.
        fault: called with path, what is wrong, and what to do.
    """
    listed = keys.hoverboards if isinstance(keys.hoverboards, list) else []
    regions = list(dict.fromkeys(host.region for host in hosts))
    for index, given in enumerate(listed):
        where = ("hoverboards", index, "region")
        if given.region is None:
            continue
        if keys.wan is None and len(regions) > 1:
            fault(
                where,
                "works only with `wan`: without it a Hoverboard serves all regions",
                "remove it, or add `wan: {}`",
            )
        elif given.region not in regions:
            known = ", ".join(str(region) for region in regions)
            fault(where, f"there is no host in region {given.region!r}", f"use one of: {known}")
    if keys.wan is None:
        return None
    if len(regions) != 2:
        what = f"needs hosts in two regions, and the hosts are in {len(regions)}"
        fault(("wan",), what, "give each host a `region:`, with two different regions in all")
        return None
    if model is not None and not model.scoped:
        fault(("model",), f"{keys.model!r} does not work with `wan`", f"use one of: {choices(scoped=True)}")
    for index, one in enumerate(hoverboards):
        if one.region is None:
            place: Path = ("hoverboards", index) if listed else ("hoverboards",)
            fault(place, f"Hoverboard {one.name!r} is in no region", "list the Hoverboards, each with a `region:`")
            return None
    if model is not None and model.relays:
        for region in regions:
            if not any(one.region == region for one in hoverboards):
                fault(("hoverboards",), f"region {region!r} has no Hoverboard", "give each region at least one")
    return resolve_link(keys.wan, ("wan",), fault)


def check_regions(entities: Iterable[AnyEntity], fault: Report) -> None:
    """Report a load balancer, or routes of one prefix, with VMs in two regions (`check_same_region`)."""
    try:
        check_same_region(entities)
    except InputError as error:
        fault(("wan",), error.what, error.next_step or "")
