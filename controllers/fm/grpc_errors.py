"""How an error crosses gRPC: a status code, and the error's three parts as JSON in the details.

The server's and the client's side of the mapping are both here, so that they stay consistent.
"""

from __future__ import annotations

import json

import grpc

from hoverboard.contract.errors import (
    EntityError,
    HoverboardError,
    InputError,
    MachineError,
    MeasurementError,
    RunError,
    SwitchError,
)

MAX_MESSAGE = 256 * 1024 * 1024  # a full update of 100,000 VMs is about 20 MB
# Characters of each part of an error. The details are a header, and gRPC drops an answer with headers over 8 KiB.
# An error may quote a text of any length from the request.
_MAX_PART = 600

_CODES: dict[type[HoverboardError], grpc.StatusCode] = {
    EntityError: grpc.StatusCode.INVALID_ARGUMENT,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    RunError: grpc.StatusCode.FAILED_PRECONDITION,
}
_KINDS = {
    kind.__name__: kind for kind in (EntityError, InputError, RunError, MachineError, SwitchError, MeasurementError)
}


def status_of(error: HoverboardError) -> tuple[grpc.StatusCode, str]:
    """The gRPC status code and details of an error."""
    code = _CODES.get(type(error), grpc.StatusCode.INTERNAL)
    kind = next((one.__name__ for one in type(error).__mro__ if one.__name__ in _KINDS), "")
    parts = {"what": error.what, "where": error.where, "next_step": error.next_step, "kind": kind}
    return code, json.dumps({name: _shortened(text) for name, text in parts.items()})


def _shortened(text: str) -> str:
    """The beginning and the end of a text that is too long, escaped to ASCII."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return text if len(plain) <= _MAX_PART else f"{plain[: _MAX_PART - 104]} ... {plain[-99:]}"


def error_from_status(code: grpc.StatusCode, details: str) -> HoverboardError | None:
    """The error that the server raised, or None if the status is not one of ours."""
    kind = {grpc.StatusCode.INVALID_ARGUMENT: EntityError, grpc.StatusCode.FAILED_PRECONDITION: RunError}.get(code)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return InputError(
            f"the request or its answer is larger than {MAX_MESSAGE >> 20} MiB ({details})",
            where="fabric manager",
            next_step="send fewer entities in one request: a full update, then diffs",
        )
    try:
        parts = json.loads(details)
        named = _KINDS.get(parts.get("kind", ""), kind)
        return None if named is None else named(parts["what"], where=parts["where"], next_step=parts["next_step"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None if kind is None else kind(details)
