"""What a topology file names by FILE.py:Class, beside itself: its programming model, offload policy and stages.

Each is looked for, and its file is run, before anything is started.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as Directory
from typing import TYPE_CHECKING, Any

from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy_file import find_policy
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import absolute
from hoverboard.coprocessor.registry import Registry
from topologies.spec.topology import OffloadSpec
from topologies.spec.yaml_reader import Path

if TYPE_CHECKING:
    from topologies.spec.keys import OffloadKeys, StageKeys

Report = Callable[[Path, str, str], None]


def find_stages(given: list[StageKeys], base: Directory, fault: Report) -> tuple[dict[str, Any], ...]:
    """The rules, checked as far as they can be before anything runs."""
    registry, rules = Registry(), []
    for index, keys in enumerate(given):
        path: Path = ("stages", index)
        reference = absolute(keys.stage, base)
        key = "stage"
        try:
            registry.find(reference)
            key = "config"
            registry.check(reference, keys.config)
        except InputError as error:
            where = (*path, key)
            # "stage NAME, config.KEY.KEY": the registry knows the key, the file knows its line.
            inner = error.where.partition("config.")[2] if key == "config" else ""
            parts = tuple(int(part) if part.isdigit() else part for part in inner.split(".") if part)
            fault((*where, *parts), error.what, error.next_step)
        rules.append({"stage": reference, "config": keys.config, "when": keys.when.model_dump(mode="json")})
    return tuple(rules)


def find_model(given: str, base: Directory, fault: Report) -> ProgrammingModel | None:
    """The programming model, whose file is run to see whether it is one."""
    try:
        return model_named(absolute(given, base))
    except InputError as error:
        fault(("model",), error.what, error.next_step)
        return None


def find_offload(given: str | OffloadKeys, base: Directory, fault: Report) -> OffloadSpec:
    """The offload policy, whose file is run to see whether it is one."""
    keys: OffloadKeys | None = None if isinstance(given, str) else given
    policy = given if isinstance(given, str) else given.policy
    if policy is not None:
        policy = absolute(policy, base)
        try:
            find_policy(policy)
        except InputError as error:
            where: Path = ("offload_policy",) if keys is None else ("offload_policy", "policy")
            fault(where, error.what, error.next_step)
    if keys is None:
        return OffloadSpec(policy=policy)
    return OffloadSpec(keys.keep, keys.min_lifetime, keys.idle_expiry, keys.budget, keys.reports, policy)
