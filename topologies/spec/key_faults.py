"""Turns the errors of pydantic about a topology file into faults with line, words and next step.

`cut_out` removes a wrong part, so that the rest of the file can still be checked.
"""

from __future__ import annotations

from typing import Any

from hoverboard.contract.checks.similar_names import similar
from topologies.spec import yaml_reader
from topologies.spec.faults import Fault, explain
from topologies.spec.keys import keys_at
from topologies.spec.yaml_reader import Positions

_TAGS = ("<list>", "<count>", "<policy>", "<keys>")


def path_of(loc: tuple[str | int, ...]) -> yaml_reader.Path:
    """The path of a value, from pydantic's location: the tags of unions are left out."""
    return tuple(part for part in loc if part not in _TAGS)


def cut_out(data: Any, positions: Positions, path: yaml_reader.Path) -> bool:
    """Remove the value at `path` from `data`; where it is required, remove the value that contains it.

    Returns:
        False when only the whole file could be removed.
    """
    if path in ((), ("hosts",)):
        return False
    parent = data
    for part in path[:-1]:
        parent = parent[part]
    last = path[-1]
    if isinstance(parent, list) and isinstance(last, int):
        del parent[last]
        positions.remove(path)
        return True
    field = keys_at(path[:-1]).model_fields.get(str(last))
    if last not in parent or (field is not None and field.is_required()):
        return cut_out(data, positions, path[:-1])
    del parent[last]
    return True


def fault_of(positions: Positions, path: yaml_reader.Path, item: Any) -> Fault:
    """The fault for `item`, one error of pydantic's `ValidationError.errors()`."""
    kind = item["type"]
    if kind == "extra_forbidden":
        return _unknown_key(positions, path)
    if kind == "missing":
        return positions.fault(path, "is missing", f"add `{path[-1]}:` here")
    what, step = explain(item)
    if kind in ("int_type", "int_parsing") and path[-1] in ("hosts", "hoverboards", "vms"):
        what, step = f"{what}, and not a list", "give a number, or a list of mappings"
    return positions.fault(path, what, step)


def _unknown_key(positions: Positions, path: yaml_reader.Path) -> Fault:
    known = [key for key, field in keys_at(path[:-1]).model_fields.items() if field.annotation is not type(None)]
    close = similar(str(path[-1]), known)
    step = f"did you mean `{close}`? " if close else "remove it; "
    return positions.fault(path, "unknown key", f"{step}the keys here are: {', '.join(known)}")
