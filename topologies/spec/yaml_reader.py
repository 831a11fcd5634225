"""Reads YAML into plain data, and remembers the line of each value."""

from __future__ import annotations

from typing import Any

import yaml

from topologies.spec.faults import Fault

Path = tuple[str | int, ...]
# YAML aliases can expand a small file into a huge one.
_MAX_VALUES = 100_000


def key_text(path: Path) -> str:
    """Text of a path: networks[0].vms for ("networks", 0, "vms")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class Positions:
    """Line, from 1, and key of each value of a file, by its path in the data."""

    def __init__(self) -> None:
        self._places: dict[Path, tuple[int, str]] = {(): (1, "")}

    def put(self, path: Path, line: int) -> None:
        """Note that the value at `path`, or its key, is on `line`."""
        self._places[path] = (line, key_text(path))

    def line(self, path: Path) -> int:
        """Line of `path`; for a path that is not in the file, the line of the nearest value that contains it."""
        return self._place(path)[0]

    def _place(self, path: Path) -> tuple[int, str]:
        if path in self._places:
            return self._places[path]
        line, text = self._place(path[:-1])
        part = path[-1]
        return line, f"{text}[{part}]" if isinstance(part, int) else f"{text}.{part}" if text else str(part)

    def fault(self, path: Path, what: str, next_step: str) -> Fault:
        """A fault at `path`."""
        line, text = self._place(path)
        return Fault(line, text, what, next_step)

    def remove(self, path: Path) -> None:
        """Note that the list item at `path` was cut out: later items move up, and keep their keys for messages."""
        base, index = path[:-1], path[-1]
        assert isinstance(index, int)
        depth = len(base)
        moved = {}
        for old, place in self._places.items():
            if len(old) > depth and old[:depth] == base:
                number = old[depth]
                assert isinstance(number, int)
                if number == index:
                    continue
                if number > index:
                    moved[(*base, number - 1, *old[depth + 1 :])] = place
                    continue
            moved[old] = place
        self._places = moved


class _TooManyValuesError(Exception):
    """An alias expands the file without end, or almost so."""


class _Reader:
    def __init__(self) -> None:
        self.positions = Positions()
        self.faults: list[Fault] = []
        self._constructor = yaml.constructor.SafeConstructor()
        self._values = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: Path) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES or id(node) in self._open:
            raise _TooManyValuesError
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                values = []
                for index, child in enumerate(node.value):
                    self.positions.put((*path, index), child.start_mark.line + 1)
                    values.append(self.read(child, (*path, index)))
                return values
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            line = node.start_mark.line + 1
            what = getattr(error, "problem", None) or str(error)
            self.faults.append(
                Fault(line, key_text(path), f"cannot be read: {what}", "write a plain value, or put it in quotes")
            )
            return str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(Fault(line, key_text(path), "a key is not a plain word", "use plain words as keys"))
                continue
            key = str(key_node.value)
            child = (*path, key)
            if key in data:
                first = self.positions.line(child)
                self.faults.append(
                    Fault(line, key_text(child), f"is given twice, first on line {first}", "keep one of the two")
                )
                continue
            self.positions.put(child, line)
            data[key] = self.read(value_node, child)
        return data


def read(text: str) -> tuple[Any, Positions, list[Fault]]:
    """(plain data, positions, faults) of one YAML document; the faults are of the YAML itself."""
    reader = _Reader()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = reader.read(node, ()) if node is not None else None
    except RecursionError:
        return (
            None,
            reader.positions,
            [Fault(1, "", "the file is nested too deep", "compare it with a file of topologies/shipped")],
        )
    except _TooManyValuesError:
        what = "the file has too many values: an alias repeats or contains itself"
        return None, reader.positions, [Fault(1, "", what, "write the values in full, without aliases")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark is not None else 1
        fault = Fault(
            line,
            "",
            f"is not valid YAML: {problem}",
            "check indentation, colons and quotes on this line and the lines above",
        )
        return None, reader.positions, [fault]
    return data, reader.positions, reader.faults
