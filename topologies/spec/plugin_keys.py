"""Finds the classes that a topology file names as FILE.py:Class: programming model, offload policy, stages.

The Python file is run to check the class, before anything starts. FileNotRunError: no file may run here
(`hoverboard.contract.plugins.without_running_files`). For a run that is up, the names are then taken as they are: a
change of them is rejected, or checked elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as Directory
from typing import TYPE_CHECKING, Any

from controllers.vmc.model import ProgrammingModel
from controllers.vmc.models import model_named
from controllers.vmc.offload.policy_file import find_policy
from hoverboard.contract.errors import InputError
from hoverboard.contract.plugins import FileNotRunError, absolute, file_of
from hoverboard.coprocessor.registry import Registry
from topologies.spec.topology import OffloadSpec
from topologies.spec.yaml_reader import Path

if TYPE_CHECKING:
    from topologies.spec.keys import OffloadKeys, StageKeys

Report = Callable[[Path, str, str], None]


def find_stages(
    given: list[StageKeys], base: Directory, fault: Report, *, is_up: bool = False
) -> tuple[dict[str, Any], ...]:
    """The rules of the coprocessor stages, with absolute paths; checked as far as possible before a process runs.

    Args:
        given: the stages of the file.
        base: directory for relative paths.
        fault: called with path, what is wrong, and what to do.
        is_up: the file is for a run that is up (see the module).
    """
    registry, rules = Registry(), []
    for index, keys in enumerate(given):
        path: Path = ("stages", index)
        reference = absolute(keys.stage, base)
        key = "stage"
        try:
            registry.find(reference)
            key = "config"
            registry.check(reference, keys.config)
        except FileNotRunError:
            if not is_up:
                raise
        except InputError as error:
            where = (*path, key)
            # error.where is "stage NAME, config.KEY.KEY": its keys lead to the line in the file.
            inner = error.where.partition("config.")[2] if key == "config" else ""
            parts = tuple(int(part) if part.isdigit() else part for part in inner.split(".") if part)
            fault((*where, *parts), _what(error, reference), error.next_step)
        rules.append({"stage": reference, "config": keys.config, "when": keys.when.model_dump(mode="json")})
    return tuple(rules)


def _what(error: InputError, reference: str) -> str:
    """The fault's text; with its line in the Python file, if it has one beside the key's line in the topology file."""
    found = file_of(reference)
    has_line = found is not None and error.where != reference and error.where.startswith(f"{found[0]}:")
    return f"{error.where}: {error.what}" if has_line else error.what


def find_model(given: str, base: Directory, fault: Report, *, is_up: bool = False) -> ProgrammingModel | None:
    """The programming model; None, and a fault, when there is no model of that name.

    With `is_up` (see the module) also None, without a fault, when its file may not run.
    """
    reference = absolute(given, base)
    try:
        return model_named(reference, where="")
    except FileNotRunError:
        if not is_up:
            raise
        return None
    except InputError as error:
        fault(("model",), _what(error, reference), error.next_step)
        return None


def find_offload(given: str | OffloadKeys, base: Directory, fault: Report, *, is_up: bool = False) -> OffloadSpec:
    """The offload policy; a fault when its class cannot be found. With `is_up`, see the module."""
    keys: OffloadKeys | None = None if isinstance(given, str) else given
    policy = given if isinstance(given, str) else given.policy
    if policy is not None:
        policy = absolute(policy, base)
        try:
            find_policy(policy)
        except FileNotRunError:
            if not is_up:
                raise
        except InputError as error:
            where: Path = ("offload_policy",) if keys is None else ("offload_policy", "policy")
            fault(where, _what(error, policy), error.next_step)
    if keys is None:
        return OffloadSpec(policy=policy)
    return OffloadSpec(keys.keep, keys.min_lifetime, keys.idle_expiry, keys.budget, keys.reports, policy)
