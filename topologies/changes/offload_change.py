"""Changes the offload policy of a topology: by options of `up`, on request, and by another file. Pure.

The threshold, the policy's class and its settings may change while a run is up. Who sends usage reports may not: hosts
and Hoverboards learn that once, when they start.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from controllers.vmc.offload.policy_file import find_policy
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import FileNotRunError, absolute
from topologies.spec.faults import explain
from topologies.spec.keys import OffloadKeys
from topologies.spec.topology import OffloadSpec, Topology
from topologies.spec.values import Rate, check_keep

BUILT_IN = "built-in"  # the name of the policy that needs no file
THRESHOLD = "threshold"
_RATE: TypeAdapter[int] = TypeAdapter(Rate)


class OffloadValues(TypedDict, total=False):
    """New values, in the form of a topology file; None or absent: it stays as it is.

    `policy` is FILE.py:Class, relative to the current directory, or "built-in".
    """

    threshold: str | None
    policy: str | None
    keep: str | None
    min_lifetime: str | float | None
    idle_expiry: str | float | None
    budget: int | None


def with_offload(topology: Topology, values: OffloadValues, *, is_up: bool = False) -> Topology:
    """The topology with these values.

    Args:
        topology: it stays as it is.
        values: the values that change.
        is_up: the run is up. Then a policy whose file may not run here is checked by the control plane, which runs it.

    Raises:
        InputError: a value is wrong, two do not go together, or the policy's class cannot be used.
    """
    given: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    policy = given.pop("policy", None)
    threshold = given.pop(THRESHOLD, None)
    try:
        bps = topology.offload_threshold if threshold is None else _RATE.validate_python(threshold)
        keys = OffloadKeys.model_validate(given)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        what, step = explain(item)
        raise InputError(what, where=str((*item["loc"], THRESHOLD)[0]), next_step=step) from error
    spec = replace(topology.offload, **{key: getattr(keys, key) for key in given})
    if policy is not None:
        reference = None if policy == BUILT_IN else absolute(policy, Path())
        try:
            if reference is not None:
                find_policy(reference)
        except FileNotRunError:
            if not is_up:
                raise
        spec = replace(spec, policy=reference)
    changed = replace(topology, offload_threshold=bps, offload=spec)
    check_keep(spec.keep, bps)
    return changed


def merged(running: Topology, before: Topology, wanted: Topology) -> Topology:
    """The running topology with what a file changes of the offload policy.

    Args:
        running: the topology of the run.
        before: of the file that the run took last.
        wanted: of the new file. A value that it shares with `before` stays as it runs: it may come from an option.
    """
    threshold, spec = running.offload_threshold, running.offload
    if wanted.offload_threshold != before.offload_threshold:
        threshold = wanted.offload_threshold
    news = {
        field.name: getattr(wanted.offload, field.name)
        for field in fields(OffloadSpec)
        if getattr(wanted.offload, field.name) != getattr(before.offload, field.name)
    }
    return replace(running, offload_threshold=threshold, offload=replace(spec, **news))


def offload_facts(topology: Topology) -> dict[str, Any]:
    """The values of the offload policy by name, for a comparison."""
    spec = topology.offload
    return {THRESHOLD: topology.offload_threshold, **{field.name: getattr(spec, field.name) for field in fields(spec)}}


def offload_difference(before: Topology, after: Topology) -> dict[str, Any]:
    """{name: {"from", "to"}} of each value of the offload policy that differs."""
    old, new = offload_facts(before), offload_facts(after)
    return {name: {"from": old[name], "to": new[name]} for name in old if old[name] != new[name]}
