"""JSON Schemas of the documents that `--json` prints, by verb; made from their types, and shipped in schemas/.

    python -m hoverboard.contract.document_schemas     # writes the files

Only tools and tests import this module, because pydantic takes time to read the types.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

from hoverboard.contract import change_documents as changes
from hoverboard.contract import documents
from hoverboard.contract import experiment_documents as experiments
from hoverboard.contract import node_documents as nodes
from hoverboard.contract.links import link_documents as links

SCHEMAS = Path(__file__).parent / "schemas"
# by verb, its words joined by "-"
DOCUMENTS: dict[str, Any] = {
    "status": documents.Status,
    "status-node": nodes.Node,
    "flows": nodes.Flows,
    "offloads": list[documents.Offload],
    "latency": nodes.Latency,
    "capture": nodes.Captured,
    "up": changes.Ready,
    "up-check": changes.Checked,
    "down": changes.Down,
    "vm-add": changes.AddedVM,
    "vm-remove": changes.RemovedVM,
    "vm-list": list[changes.ListedVM],
    "model-set": changes.ModelChange,
    "model-show": changes.ModelShown,
    "offload-set": changes.OffloadChange,
    "offload-show": documents.OffloadPolicyStatus,
    "apply": changes.Applied,
    "doctor": experiments.Doctor,
    "demo": experiments.Demo,
    "experiment-list": list[experiments.ListedExperiment],
    "experiment-run": list[experiments.MeasuredExperiment],
    "experiment-report": list[experiments.MeasuredExperiment],
    "experiment-compare": list[experiments.Compared],
}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of a type: every key is required, has the type's type, and no other key is allowed."""
    for module in (documents, nodes, changes, experiments, links):
        for one in vars(module).values():
            if is_typeddict(one):
                one.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(kind)


def check(kind: Any, document: Any) -> None:
    """Raise pydantic.ValidationError if a document, as it would be printed, does not match its type.

    `kind` is a verb of `DOCUMENTS`, or one of the types.
    """
    wanted = DOCUMENTS[kind] if isinstance(kind, str) else kind
    adapter(wanted).validate_json(json.dumps(document), strict=True)


def json_schemas() -> Iterator[tuple[str, str]]:
    """(verb, text of its JSON Schema), for all verbs."""
    for verb, kind in DOCUMENTS.items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": verb}
        yield verb, json.dumps({**head, **adapter(kind).json_schema(), **head}, indent=2) + "\n"


def main() -> None:
    """Write the schemas into the folder that is shipped."""
    SCHEMAS.mkdir(exist_ok=True)
    for verb, text in json_schemas():
        (SCHEMAS / f"{verb}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
