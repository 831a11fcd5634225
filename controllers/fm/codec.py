"""Entities in messages: protobuf messages with a type and a JSON document. No I/O.

Only this module turns the text of a request into validated entities, and validation errors into EntityErrors that name
the entity and the field.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from hoverboard.contract.entities import ENTITY_TYPES, AnyEntity
from hoverboard.contract.errors import EntityError
from hoverboard.contract.wire import fabric_pb2 as pb

MAX_ENTITY = 256 * 1024  # bytes of an entity's JSON


def encode_entity(entity: AnyEntity) -> pb.Entity:
    """An entity as a message; parameters with their default value are left out."""
    return pb.Entity(type=entity.TYPE, json=entity.model_dump_json(exclude_defaults=True))


def entity_document(entity: AnyEntity) -> dict[str, Any]:
    """An entity as plain data: its type, and the parameters without their default value."""
    return {"type": entity.TYPE, **entity.model_dump(mode="json", exclude_defaults=True)}


def decode_entity(message: pb.Entity) -> AnyEntity:
    """The entity in a message.

    Raises:
        EntityError: type unknown; not JSON; a parameter unknown, missing or wrong; larger than MAX_ENTITY.
    """
    if len(message.json) > MAX_ENTITY:
        raise EntityError(
            f"its JSON has {len(message.json)} characters; the maximum is {MAX_ENTITY}",
            where=f"{message.type[:64]}/?",
            next_step="send entities as docs/fabric-manager.md describes them",
        )
    kind = ENTITY_TYPES.get(message.type)
    if kind is None:
        raise EntityError(
            f"unknown entity type {message.type!r}",
            where=f"{message.type}/{_name_in(message.json)}",
            next_step=f"use one of {', '.join(ENTITY_TYPES)}",
        )
    try:
        return kind.model_validate_json(message.json)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"{message.type}/{_name_in(message.json)}" + (f".{field}" if field else "")
        what = str(first["msg"]).removeprefix("Value error, ")
        raise EntityError(what, where=where, next_step=_next_step(kind, str(first["type"]))) from invalid


def _next_step(kind: type[AnyEntity], fault: str) -> str:
    if fault == "extra_forbidden":
        return f"{kind.TYPE} has the parameters {', '.join(kind.model_fields)}"
    return f"correct this parameter of the {kind.TYPE} and send the request again"


def _name_in(document: str) -> str:
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        return "?"
    name = parsed.get("name") if isinstance(parsed, dict) else None
    return str(name) if name is not None else "?"
