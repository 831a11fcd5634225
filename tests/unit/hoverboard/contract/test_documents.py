"""The types of what `--json` prints, and their JSON Schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from hoverboard.contract import change_documents, document_schemas
from hoverboard.contract.document_schemas import DOCUMENTS, SCHEMAS, check

ADDED = {
    "name": "late", "network": "blue", "ip": "10.0.0.9", "host": "h2", "mac": "02:00:00:00:00:01", "tags": ["web"],
    "rate_bps": None,
}  # fmt: skip


def test_the_shipped_schemas_are_those_of_the_types() -> None:
    shipped = {file.stem: file.read_text() for file in SCHEMAS.iterdir()}
    made = dict(document_schemas.json_schemas())
    assert shipped == made, "write them: python -m hoverboard.contract.document_schemas"
    assert set(made) == set(DOCUMENTS)


def test_a_schema_knows_every_key_and_which_are_required() -> None:
    schema = json.loads((SCHEMAS / "vm-add.json").read_text())
    assert (schema["title"], schema["additionalProperties"]) == ("vm-add", False)
    assert set(schema["properties"]) == {*ADDED, "ip6"}
    assert set(schema["required"]) == set(ADDED)


def test_a_document_of_its_type_is_fine() -> None:
    check("vm-add", ADDED)
    check("vm-add", {**ADDED, "ip6": "fd00::9"})
    check(change_documents.AddedVM, ADDED)


@pytest.mark.parametrize(
    "document",
    [
        {**ADDED, "mtu": 1500},
        {key: value for key, value in ADDED.items() if key != "mac"},
        {**ADDED, "host": 2},
        {**ADDED, "ip6": None},
        [ADDED],
    ],
    ids=["unknown", "missing", "type", "none", "list"],
)
def test_any_other_is_not(document: Any) -> None:
    with pytest.raises(ValidationError):
        check("vm-add", document)


def test_each_form_of_a_document_is_in_its_schema() -> None:
    check("status-node", {"node": "fab", "role": "fabric", "state": "up", "pid": 7})
    with pytest.raises(ValidationError):
        check("status-node", {"node": "fab", "role": "host", "state": "up", "pid": 7})
