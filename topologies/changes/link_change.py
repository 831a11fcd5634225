"""Changes the properties of links of a topology: the WAN and the uplinks of nodes. Pure.

The WAN has the name "wan", an uplink the name of its node. A node of that name is meant if there is no WAN.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError
from typing_extensions import TypedDict

from hoverboard.contract.checks.similar_names import name_step
from hoverboard.contract.errors import InputError
from hoverboard.contract.links.link_properties import LinkProperties
from topologies.spec.faults import explain
from topologies.spec.keys import LinkKeys
from topologies.spec.topology import ServerSpec, Topology
from topologies.spec.wan_keys import resolve_link
from topologies.spec.yaml_reader import Path

WAN = "wan"


class LinkValues(TypedDict, total=False):
    """The properties of a link, in the form of a topology file; those that are absent are off."""

    delay: str | float
    jitter: str | float
    loss: str
    reorder: str
    duplicate: str
    rate: str | None
    seed: int | None


def links_of(topology: Topology) -> dict[str, LinkProperties]:
    """The properties of each link that a topology has, by name."""
    found = {server.name: server.uplink for server in topology.servers}
    return found if topology.wan is None else {**found, WAN: topology.wan}


def without_links(value: object) -> object:
    """A value of a topology without the properties of its links, for a comparison of what cannot change.

    Args:
        value: the WAN, hosts or Hoverboards, or another attribute, which stays as it is.
    """
    if isinstance(value, LinkProperties):
        return LinkProperties()
    if isinstance(value, tuple):
        return tuple(replace(one, uplink=LinkProperties()) if isinstance(one, ServerSpec) else one for one in value)
    return value


def with_link(topology: Topology, name: str, properties: LinkProperties) -> Topology:
    """The topology with other properties of one link.

    Raises:
        InputError: there is no such link.
    """
    if name not in links_of(topology):
        step = name_step(name, list(links_of(topology)))
        raise InputError(f"there is no link {name!r}: no WAN and no host or Hoverboard", next_step=step)
    if name == WAN and topology.wan is not None:
        return replace(topology, wan=properties)

    def changed(servers: tuple[ServerSpec, ...]) -> tuple[ServerSpec, ...]:
        return tuple(replace(one, uplink=properties) if one.name == name else one for one in servers)

    return replace(topology, hosts=changed(topology.hosts), hoverboards=changed(topology.hoverboards))


def parse_link(values: LinkValues) -> LinkProperties:
    """The properties of values as a topology file has them.

    Raises:
        InputError: a value is wrong, or two do not go together.
    """
    try:
        keys = LinkKeys.model_validate(dict(values))
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        if item["type"] == "extra_forbidden":
            step = f"use: {', '.join(LinkKeys.model_fields)}"
            raise InputError(f"a link has no property {item['loc'][0]!r}", next_step=step) from error
        what, step = explain(item)
        raise InputError(what, where=str(item["loc"][0]), next_step=step) from error

    def fault(path: Path, what: str, step: str) -> None:
        raise InputError(f"{path[-1]} {what}", where=str(path[-1]), next_step=step)

    return resolve_link(keys, (), fault)


def merged_links(running: Topology, before: Topology, wanted: Topology) -> Topology:
    """The running topology with the links that a file changes.

    Args:
        running: the topology of the run.
        before: of the file that the run took last.
        wanted: of the new file. A link that it shares with `before` stays as it runs: Python may have changed it.
    """
    old, new = links_of(before), links_of(wanted)
    for name, properties in new.items():
        if name in links_of(running) and old.get(name) != properties:
            running = with_link(running, name, properties)
    return running


def link_difference(before: Topology, after: Topology) -> dict[str, Any]:
    """{name: {"from", "to"}} of each link whose properties differ, both as {property: value}."""
    old, new = links_of(before), links_of(after)
    return {
        name: {"from": asdict(old[name]), "to": asdict(new[name])}
        for name in old.keys() & new.keys()
        if old[name] != new[name]
    }


def original_after(original: Topology, wanted: Topology) -> Topology:
    """The topology to compare the next file with: what may change while a run is up is that of the file at hand."""
    offload = replace(original, offload_threshold=wanted.offload_threshold, offload=wanted.offload)
    return merged_links(offload, original, wanted)
