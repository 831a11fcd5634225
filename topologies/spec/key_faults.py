"""What is wrong with the keys of a topology file, in words and with its line.

A wrong part can be cut out, so that what the rest gets wrong is found in the same go.
"""

from __future__ import annotations

import difflib
from typing import Any

from topologies.spec import yaml_reader
from topologies.spec.faults import Fault
from topologies.spec.keys import keys_at
from topologies.spec.yaml_reader import Positions

_TAGS = ("<list>", "<count>", "<policy>", "<keys>")


def path_of(loc: tuple[str | int, ...]) -> yaml_reader.Path:
    """pydantic's location without the tags of unions."""
    return tuple(part for part in loc if part not in _TAGS)


def cut_out(data: Any, positions: Positions, path: yaml_reader.Path) -> bool:
    """Remove the value at `path`, or what is around it where it is required; False if that is the file."""
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
    kind = item["type"]
    context = item.get("ctx", {})
    message = item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return _unknown_key(positions, path)
    if kind == "missing":
        return positions.fault(path, "is missing", f"add `{path[-1]}:` here")
    if kind == "literal_error":
        given = item["input"]
        return positions.fault(path, f"is {given!r}", f"use one of: {context['expected']}")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return positions.fault(path, "is not a mapping of keys", "write keys with values, such as `name: ...`")
    if kind in ("int_type", "int_parsing"):
        expects_list = path[-1] in ("hosts", "hoverboards", "vms")
        step = "give a number, or a list of mappings" if expects_list else "give a whole number"
        return positions.fault(path, f"is {item['input']!r}, which is not a whole number", step)
    if "supported yet" in message:
        return positions.fault(path, message, "remove the key")
    if kind in ("greater_than_equal", "less_than_equal"):
        limit = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return positions.fault(path, f"is {item['input']}", f"give {limit}")
    return positions.fault(path, message[0].lower() + message[1:], "correct the value")


def _unknown_key(positions: Positions, path: yaml_reader.Path) -> Fault:
    known = [key for key, field in keys_at(path[:-1]).model_fields.items() if field.annotation is not type(None)]
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    step = f"did you mean `{close[0]}`? " if close else "remove it; "
    return positions.fault(path, "unknown key", f"{step}known here: {', '.join(known)}")
