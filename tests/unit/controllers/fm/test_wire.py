"""The messages of the fabric manager: entities as JSON with their faults named, and errors as gRPC's status."""

from __future__ import annotations

import json

import grpc
import pytest

from controllers.fm.codec import MAX_ENTITY, decode_entity, encode_entity, entity_document
from controllers.fm.grpc_errors import MAX_MESSAGE, error_from_status, status_of
from controllers.testing.world import cluster, vm
from hoverboard.contract.entities import ENTITY_TYPES, Network
from hoverboard.contract.errors import (
    EntityError,
    HoverboardError,
    InputError,
    MachineError,
    MeasurementError,
    RunError,
    SwitchError,
)
from hoverboard.contract.wire import fabric_pb2 as pb

B1 = vm("b1", "blue", "h1", 2)
NETWORK = '{"name": "n", "vni": 7%s}'
ONE_OF = f"use one of {', '.join(ENTITY_TYPES)}"


# --- entities -----------------------------------------------------------------------------------------


def test_only_what_differs_from_its_default_travels() -> None:
    given = {"name": "b1", "network": "blue", "ip": "10.0.0.2", "mac": B1.mac, "host": "h1"}
    message = encode_entity(B1)
    assert (message.type, json.loads(message.json)) == ("VM", given)
    assert entity_document(B1) == {"type": "VM", **given}
    for entity in (*cluster(), B1.model_copy(update={"tags": ("web",)})):
        assert decode_entity(encode_entity(entity)) == entity


@pytest.mark.parametrize(
    ("kind", "document", "where", "what", "next_step"),
    [
        ("Network", NETWORK % ', "colour": 2', "Network/n.colour", "Extra inputs are not permitted",
         f"Network has the parameters {', '.join(Network.model_fields)}"),
        ("Network", '{"name": "n"}', "Network/n.vni", "Field required",
         "correct this parameter of the Network and send the request again"),
        ("Network", "[7]", "Network/?", "Input should be an object",
         "correct this parameter of the Network and send the request again"),
        ("VM", "{}", "VM/?.name", "Field required", "correct this parameter of the VM and send the request again"),
        ("VM", '{"name": 5}', "VM/5.name", "Input should be a valid string",
         "correct this parameter of the VM and send the request again"),
        ("Volcano", '{"name": "v"}', "Volcano/v", "unknown entity type 'Volcano'",
         ONE_OF),
        ("Volcano", "[" * 100_000, "Volcano/?", "unknown entity type 'Volcano'",
         ONE_OF),
        ("FirewallRule",
         '{"name": "f", "network": "n", "direction": "ingress", "action": "deny", "protocol": "tcp", "ports": ["9-1"]}',
         "FirewallRule/f.ports.0", "9-1 is not a range of ports: 0 to 65535, the lower one first",
         "correct this parameter of the FirewallRule and send the request again"),
    ],
)  # fmt: skip
def test_a_document_that_is_no_entity_names_its_fault(
    kind: str, document: str, where: str, what: str, next_step: str
) -> None:
    with pytest.raises(EntityError) as refused:
        decode_entity(pb.Entity(type=kind, json=document))
    assert (refused.value.where, refused.value.what, refused.value.next_step) == (where, what, next_step)


def test_an_entity_of_256_kib_is_looked_at_and_a_larger_one_is_not() -> None:
    assert MAX_ENTITY == 262_144
    document = NETWORK % ""
    assert decode_entity(pb.Entity(type="Network", json=document + " " * (262_144 - len(document)))).name == "n"
    with pytest.raises(EntityError, match="its JSON has 262145 characters; the maximum is 262144") as refused:
        decode_entity(pb.Entity(type="N" * 65, json=document + " " * (262_145 - len(document))))
    assert refused.value.where == "N" * 64 + "/?"


# --- refusals -----------------------------------------------------------------------------------------


def parts(what: str, where: str = "", next_step: str = "") -> dict[str, str]:
    return {"what": what, "where": where, "next_step": next_step}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EntityError, grpc.StatusCode.INVALID_ARGUMENT),
        (InputError, grpc.StatusCode.INVALID_ARGUMENT),
        (RunError, grpc.StatusCode.FAILED_PRECONDITION),
        (SwitchError, grpc.StatusCode.INTERNAL),
    ],
)
def test_a_refusal_has_a_status_and_its_three_parts(error: type[HoverboardError], code: grpc.StatusCode) -> None:
    found, details = status_of(error("wrong", where="VM/x.ip", next_step="mend it"))
    assert (found, json.loads(details)) == (code, {**parts("wrong", "VM/x.ip", "mend it"), "kind": error.__name__})


class Overdue(SwitchError):
    """A kind of error that the other end does not know."""


@pytest.mark.parametrize(
    "error",
    [
        EntityError("wrong", where="VM/x.ip", next_step="mend it"), InputError("no file", where="mine.py"),
        RunError("no"), SwitchError("full"), MachineError("no root"), MeasurementError("no ping"),
    ],
)  # fmt: skip
def test_a_refusal_comes_back_as_it_was(error: HoverboardError) -> None:
    again = error_from_status(*status_of(error))
    assert type(again) is type(error)
    assert again is not None
    assert vars(again) == vars(error)


def test_an_error_of_an_unknown_kind_comes_back_as_the_kind_that_it_is_one_of() -> None:
    assert type(error_from_status(*status_of(Overdue("late")))) is SwitchError


@pytest.mark.parametrize("details", ["no JSON", "5", '{"what": "wrong"}', ""])
def test_an_error_of_grpc_itself_is_passed_on_unchanged(details: str) -> None:
    error = error_from_status(grpc.StatusCode.INVALID_ARGUMENT, details)
    assert type(error) is EntityError
    assert (error.what, error.where) == (details, "")


def test_a_status_that_is_no_refusal_is_none() -> None:
    assert error_from_status(grpc.StatusCode.UNAVAILABLE, "gone") is None
    strange = json.dumps({**parts("x"), "kind": "Strange"})
    assert error_from_status(grpc.StatusCode.INTERNAL, strange) is None
    assert error_from_status(grpc.StatusCode.INTERNAL, json.dumps(parts("x"))) is None


def test_a_request_that_is_too_large_says_what_to_do() -> None:
    assert MAX_MESSAGE == 268_435_456
    error = error_from_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "300 MB")
    assert isinstance(error, InputError)
    assert error.what == "the request or its answer is larger than 256 MiB (300 MB)"
    assert (error.where, error.next_step) == (
        "fabric manager", "send fewer entities in one request: a full update, then diffs",
    )  # fmt: skip


def shortened(text: str) -> str:
    what: str = json.loads(status_of(InputError(text))[1])["what"]
    return what


def test_a_part_of_six_hundred_characters_travels_whole_and_a_longer_one_loses_its_middle() -> None:
    text = "".join(chr(97 + number % 26) for number in range(600))
    assert shortened(text) == text
    assert shortened(text + "!") == text[:496] + " ... " + text[502:] + "!"
    assert len(shortened(text * 100)) == 600


def test_what_is_not_ascii_counts_as_it_travels() -> None:
    assert shortened("é" * 150) == "é" * 150
    assert shortened("é" * 151) == ("\\xe9" * 124) + " ... " + ("\\xe9" * 25)[1:]


def test_the_longest_refusal_is_smaller_than_the_headers_that_grpc_takes() -> None:
    text = '"\U0001f6f9' * 10_000
    details = status_of(EntityError(text, where=text, next_step=text))[1]
    assert len(details.encode()) < 8_000
