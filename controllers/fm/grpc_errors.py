"""How a refusal crosses gRPC: status code, and the error's three parts as JSON in the details.

The server side of the mapping and the client side stand together so that they cannot drift apart.
"""

from __future__ import annotations

import json

import grpc

from hoverboard.contract.errors import EntityError, HoverboardError, InputError, RunError

MAX_MESSAGE = 256 * 1024 * 1024  # a full update of 100,000 VMs is about 20 MB
# Characters of each part of a refusal: details travel as a header, and gRPC drops an answer with more than 8 KiB of
# them. What is quoted is the caller's, and may be as long as the caller likes.
_MAX_PART = 600

_CODES: dict[type[HoverboardError], grpc.StatusCode] = {
    EntityError: grpc.StatusCode.INVALID_ARGUMENT,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    RunError: grpc.StatusCode.FAILED_PRECONDITION,
}


def status_of(error: HoverboardError) -> tuple[grpc.StatusCode, str]:
    """The gRPC status code and details for a refusal."""
    code = _CODES.get(type(error), grpc.StatusCode.INTERNAL)
    parts = {"what": error.what, "where": error.where, "next_step": error.next_step}
    return code, json.dumps({name: _shortened(text) for name, text in parts.items()})


def _shortened(text: str) -> str:
    """The beginning and the end of a text that is too long, in ASCII as it travels."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return text if len(plain) <= _MAX_PART else f"{plain[: _MAX_PART - 104]} ... {plain[-99:]}"


def error_from_status(code: grpc.StatusCode, details: str) -> HoverboardError | None:
    """The refusal that the server raised, or None where the status is not one of ours."""
    kind = {grpc.StatusCode.INVALID_ARGUMENT: EntityError, grpc.StatusCode.FAILED_PRECONDITION: RunError}.get(code)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return InputError(
            f"the request is larger than {MAX_MESSAGE >> 20} MiB, or so is its answer ({details})",
            where="fabric manager",
            next_step="send fewer entities at a time: a full update, then diffs",
        )
    if kind is None:
        return None
    try:
        parts = json.loads(details)
        return kind(parts["what"], where=parts["where"], next_step=parts["next_step"])
    except (ValueError, KeyError, TypeError):
        return kind(details)
