"""Finds names in the `when` of a coprocessor stage that match nothing: VMs, networks, other ends. Pure.

A stage that encrypts for a VM that does not exist encrypts nothing. Names are faults of a file that starts a run. In a
file for a run that is up they are notices: its stages cannot change, and `vm remove` may have removed the VM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import PurePath
from typing import Any

from hoverboard.contract.checks.similar_names import listed, name_step
from topologies.references.names import Members, Notice, meets


@dataclass(frozen=True, slots=True)
class StageFinding:
    """A key of `when` that matches nothing.

    Attributes:
        index: number of the stage, from 0.
        stage: its reference.
        key: "vms", "networks" or "to".
        name: whether it is a name that does not exist.
        what, next_step: see `Notice`.
    """

    index: int
    stage: str
    key: str
    name: bool
    what: str
    next_step: str

    def notice(self) -> Notice:
        """The notice that names the stage and the key."""
        return Notice(f"stage {PurePath(self.stage).name}, when.{self.key}", self.what, self.next_step)


def unmatched_stages(
    stages: Sequence[Mapping[str, Any]], members: Members, *, hosts: int, regions: int
) -> Iterator[StageFinding]:
    """The keys of stages that match nothing.

    Args:
        stages: rules of the stages, as `Topology.stages`.
        members: VMs and networks of the topology.
        hosts: number of VM hosts.
        regions: number of regions.
    """
    for index, stage in enumerate(stages):
        when = stage["when"]
        for key, kind, known in (("vms", "VM", members.vms), ("networks", "network", members.networks)):
            for name in when[key]:
                if name not in known:
                    what = f"there is no {kind} {name!r}, so the stage gets no packet of it"
                    yield StageFinding(index, stage["stage"], key, True, what, name_step(name, known))
        found = _other_end(when["to"], members, hosts, regions)
        if found is not None:
            yield StageFinding(index, stage["stage"], "to", False, *found)


def _other_end(to: str, members: Members, hosts: int, regions: int) -> tuple[str, str] | None:
    """(what, next step) when no packet has this other end; None when one may have it."""
    match to:
        case "any" | "internet":
            return None
        case "other-host" if hosts < 2:
            return "there is one VM host, so no packet goes to another", "add a host, or remove the stage"
        case "other-region" if regions < 2:
            return "all hosts are in one region, so no packet leaves it", "give hosts a `region:`, or use `other-host`"
        case "other-host" | "other-region":
            return None
    if meets(ip_network(to), members.ranges()):
        return None
    return f"no address of a network is in {to}", f"addresses: {listed(map(str, members.ranges()))}; correct the prefix"
