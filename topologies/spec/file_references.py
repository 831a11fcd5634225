"""Finds names in a topology file that match nothing, and keys that have no effect, each with its line.

`references` and `stage_references` decide; this module knows the paths of keys. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hoverboard.contract.errors import InputError
from topologies.references.names import Members, shadowed, unmatched
from topologies.references.stage_names import unmatched_stages
from topologies.spec.faults import Fault
from topologies.spec.topology import Topology, to_entities
from topologies.spec.values import check_keep
from topologies.spec.yaml_reader import Path, Positions

if TYPE_CHECKING:
    from topologies.spec.keys import TopologyKeys


@dataclass(frozen=True, slots=True)
class Found:
    """Faults and notices. Both have the same form."""

    faults: list[Fault] = field(default_factory=list)
    notices: list[Fault] = field(default_factory=list)


class References:
    """The references of one file.

    Args:
        keys: the keys of the file.
        topology: the topology that they have become; it has no fault.
        positions: the line of each key.
        place: gives the path of an entity by type and name.
        offloads: whether the programming model offloads VM pairs.
    """

    def __init__(
        self,
        keys: TopologyKeys,
        topology: Topology,
        positions: Positions,
        place: Callable[[str, str], Path],
        *,
        offloads: bool,
    ) -> None:
        self._keys = keys
        self._topology = topology
        self._positions = positions
        self._place = place
        self._model_offloads = offloads
        self._found = Found()

    def find(self, *, running: bool) -> Found:
        """The faults and notices of the file.

        Args:
            running: the file is for a run that is up, whose stages cannot change.
        """
        entities = to_entities(self._topology)
        for one in (*unmatched(entities), *shadowed(entities)):
            path = self._place(one.kind, one.name)
            self._notice((*path, one.field), one.what, one.next_step)
        self._stages(Members(entities), running=running)
        self._offloads()
        return self._found

    def _fault(self, path: Path, what: str, next_step: str) -> None:
        self._found.faults.append(self._positions.fault(path, what, next_step))

    def _notice(self, path: Path, what: str, next_step: str) -> None:
        self._found.notices.append(self._positions.fault(path, what, next_step))

    def _stages(self, members: Members, *, running: bool) -> None:
        topology = self._topology
        for index, stage in enumerate(self._keys.stages):
            for key in ("vms", "networks"):
                if key in stage.when.model_fields_set and not getattr(stage.when, key):
                    self._fault(("stages", index, "when", key), "is empty", "give a name, or remove the key")
        for one in unmatched_stages(
            topology.stages, members, hosts=len(topology.hosts), regions=len(topology.regions)
        ):  # fmt: skip
            report = self._fault if one.name and not running else self._notice
            report(("stages", one.index, "when", one.key), one.what, one.next_step)

    def _offloads(self) -> None:
        """Check the keys of offloads: their limits must fit together, and the model must offload pairs."""
        topology = self._topology
        try:
            check_keep(topology.offload.keep, topology.offload_threshold)
        except InputError as error:
            self._fault(("offload_policy", "keep"), error.what, error.next_step)
        if self._model_offloads:
            return
        for key in ("offload_threshold", "offload_policy"):
            if key in self._keys.model_fields_set:
                self._notice(
                    (key,), f"has no effect: model {topology.model} offloads no VM pairs",
                    "use `model: hoverboard`, or remove it",
                )  # fmt: skip
