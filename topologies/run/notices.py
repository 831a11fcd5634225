"""Names in the intent of a run that match nothing now. A VM that is removed may have had the last of its tags."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from hoverboard.contract.errors import HoverboardWarning
from topologies.references.names import Members, Notice, unmatched
from topologies.references.stage_names import unmatched_stages
from topologies.run.run import Run


def notices(run: Run) -> list[Notice]:
    """The fields of entities and stages that match nothing now."""
    topology, entities = run.topology, list(run.cluster.entities.values())
    found = [one.notice() for one in unmatched(entities)]
    if topology.stages:
        members = Members(entities)
        stages = unmatched_stages(
            topology.stages, members, hosts=len(topology.hosts), regions=len(topology.regions)
        )  # fmt: skip
        found += [one.notice() for one in stages]
    return found


def since(run: Run, before: Iterable[Notice]) -> list[Notice]:
    """The notices of now that are not among those of `before`."""
    known = {(one.where, one.what) for one in before}  # the next step names the tags of now
    return [one for one in notices(run) if (one.where, one.what) not in known]


def warn(found: Iterable[Notice], stacklevel: int = 3) -> None:
    """Issue a Python warning for each notice.

    Args:
        found: the notices.
        stacklevel: of `warnings.warn`; default: the caller of the method that calls this function.
    """
    for one in found:
        warnings.warn(one.text(), HoverboardWarning, stacklevel=stacklevel)
