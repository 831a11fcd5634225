"""The topology file: `load`, `parse`, and its JSON Schema for editors. Its keys are in `keys`.

A file is checked completely before anything starts. All faults are reported at once, each with its line.
`python -m topologies.spec.schema` writes the JSON Schema, schema.json, after a change of the keys.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, TypedDict

import yaml
from pydantic import ValidationError

from hoverboard.contract.errors import InputError
from hoverboard.text_files import read_text
from topologies.references.names import Notice
from topologies.spec import yaml_reader
from topologies.spec.faults import Fault, TopologyFileError
from topologies.spec.key_faults import cut_out, fault_of, path_of
from topologies.spec.keys import TopologyKeys
from topologies.spec.resolve import resolve
from topologies.spec.topology import Topology
from topologies.spec.yaml_reader import Positions

_MAX_FAULTS = 1000
SHIPPED = ("two-hosts", "dual-stack", "demo", "rack", "mixed", "two-regions")


def json_schema() -> str:
    """The JSON Schema of the file, as shipped in schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TopologyKeys.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def write_json_schema() -> None:
    """Write schema.json."""
    Path(__file__).with_name("schema.json").write_text(json_schema(), encoding="utf-8")


def shipped(name: str) -> str | None:
    """The text of a topology that comes with the package; None when there is no such topology."""
    if name not in SHIPPED:
        return None
    return resources.files("topologies").joinpath("shipped", f"{name}.yaml").read_text(encoding="utf-8")


def load(path: str | Path) -> Topology:
    """The topology of a file, or the shipped topology of that name.

    Raises:
        TopologyFileError: the file has faults; the error names all of them.
        InputError: there is no such file, or it cannot be read.
    """
    return parse(**read(path))


class TopologyText(TypedDict):
    """The arguments that `parse` takes for a file."""

    text: str
    source: str
    name: str
    base: Path


def read(path: str | Path) -> TopologyText:
    """The text of a file, or of the shipped topology of that name.

    A pipe has no name and no folder: relative paths in its text start from the current directory.

    Raises:
        InputError: there is no such file, or it cannot be read (`hoverboard.text_files`).
    """
    if not isinstance(path, str | Path):  # a program may pass anything
        raise InputError(
            f"a {type(path).__name__} is no topology", next_step="give the path of a file, or the name of a shipped one"
        )
    file = Path(path)
    text = shipped(str(path)) if not file.exists() else None
    if text is not None:
        return {"text": text, "source": f"{path}.yaml", "name": str(path), "base": Path()}
    step = f"give the path of a YAML file, or the name of a shipped topology: {', '.join(SHIPPED)}"
    if str(path) == "-":
        step = "to read standard input, give /dev/stdin"
    text = read_text(file, "topology file", pipe=True, next_step=step)
    if not file.is_file():
        return {"text": text, "source": str(path), "name": "topology", "base": Path()}
    return {"text": text, "source": str(path), "name": file.stem, "base": file.parent}


def parse(
    text: str,
    *,
    source: str = "<text>",
    name: str = "topology",
    base: Path | None = None,
    running: Topology | None = None,
) -> Topology:
    """The topology that YAML `text` describes.

    Args:
        text: the text of a topology file.
        source: name of the text in messages.
        name: the topology's name when the text gives none.
        base: directory for relative paths of models, policies and stages; default: the current directory.
        running: the topology of a run that is up; its VMs keep what the file leaves open.

    Raises:
        TopologyFileError: the text has faults; the error names all of them.
    """
    data, positions, faults = yaml_reader.read(text)
    if not isinstance(data, dict):
        if not faults:
            what = "the file is empty" if data is None else "the file is not a mapping of keys"
            faults = [Fault(1, "", what, "start with `hosts: 2`, or copy a file from topologies/shipped")]
        raise TopologyFileError(source, faults)
    return _checked(data, positions, faults, source=source, name=name, text=text, base=base or Path(), running=running)


def from_keys(keys: dict[str, Any], *, source: str = "<keys>", name: str = "topology") -> Topology:
    """The topology that `keys` describe: the content of a topology file as plain data."""
    text = yaml.safe_dump(keys, sort_keys=False)
    return parse(text, source=source, name=name)


def _checked(
    data: dict[str, Any],
    positions: Positions,
    faults: list[Fault],
    *,
    source: str,
    name: str,
    text: str,
    base: Path,
    running: Topology | None,
) -> Topology:
    faulty_keys: set[str] = set()
    cut: list[yaml_reader.Path] = []
    keys = None
    # Cut out each wrong part and check again: so the faults of all other parts are reported, too.
    for _ in range(_MAX_FAULTS):
        try:
            keys = TopologyKeys.model_validate(data)
            break
        except ValidationError as error:
            items = error.errors(include_url=False)
            paths = [path_of(item["loc"]) for item in items]
            # A list whose only item was cut out is not empty because of the file.
            given = [(path, item) for path, item in zip(paths, items, strict=True) if not _emptied(path, item, cut)]
            faults += [fault_of(positions, path, item) for path, item in given]
            cut.append(paths[0])
            faulty_keys.add(str(paths[0][0]))
            if not cut_out(data, positions, paths[0]):
                break
    if keys is not None:
        topology, more, unmatched = resolve(
            keys, positions, name=name, text=text, base=base, hosts_known="hosts" not in faulty_keys, running=running
        )
        # A part that we cut out is not a fault of its own.
        faulty = {fault.key for fault in faults}
        faults += [fault for fault in more if fault.key not in faulty]
        if not faults:
            notices = (Notice(fault.where(source), fault.what, fault.next_step) for fault in unmatched)
            return replace(topology, notices=tuple(notices))
    raise TopologyFileError(source, faults)


def _emptied(path: yaml_reader.Path, item: Any, cut: list[yaml_reader.Path]) -> bool:
    """Whether an error of pydantic says of a list that it is empty, after an item was cut out of it."""
    return item["type"] == "too_short" and any(one[:-1] == path for one in cut)


if __name__ == "__main__":
    write_json_schema()
