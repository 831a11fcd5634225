"""The typed client of the fabric manager, for cluster management (paper section 3.1).

Blocking, one channel per client, safe for several threads. A rejected request raises the exception that the fabric
manager raised.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc

from controllers.fm.codec import encode_entity
from controllers.fm.grpc_errors import MAX_MESSAGE, error_from_status
from hoverboard.contract.entities import AnyEntity
from hoverboard.contract.errors import RunError
from hoverboard.contract.wire import fabric_pb2 as pb
from hoverboard.contract.wire.fabric_pb2_grpc import FabricManagerStub

if TYPE_CHECKING:
    from hoverboard.contract.change_documents import ModelBegun, Plan
    from hoverboard.contract.documents import Offload, OffloadPolicyStatus, PlaneStatus


_REQUEST_TIMEOUT = 60.0  # seconds; enough for a full update of 100,000 VMs, short enough to notice a dead control plane
_UNLIMITED = MAX_MESSAGE
_MOST_DETAILS = 200  # characters


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """The answer to an accepted update; `switches` are the nodes whose program changed."""

    version: int
    added: int
    changed: int
    removed: int
    switches: tuple[str, ...]


class FabricClient:
    """A connection to the control plane at `address` ("unix:/path/control.sock" or host:port)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_send_message_length", _UNLIMITED),
                ("grpc.max_receive_message_length", _UNLIMITED),
                # Reconnect at once to a restarted control plane, not after gRPC's usual back-off of up to 120 s.
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 500),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._stub: Any = FabricManagerStub(self._channel)  # type: ignore[no-untyped-call]

    def wait_ready(self, timeout: float) -> None:
        """Wait until the control plane answers.

        Raises:
            RunError: it did not answer within `timeout` seconds.
        """
        self._call(self._stub.Status, pb.Empty(), timeout=timeout, wait=True)

    def full_update(self, entities: Iterable[AnyEntity], *, expected_version: int | None = None) -> UpdateResult:
        """Replace the whole configuration.

        Args:
            entities: the new configuration; every entity that is not in it is removed.
            expected_version: reject the request unless the configuration is at this version.

        Raises:
            EntityError: an entity was rejected; nothing was changed.
            InputError: the request is too large.
            RunError: the version is another one, or the control plane does not answer.
        """
        request = pb.FullUpdateRequest(
            entities=[encode_entity(entity) for entity in entities], expected_version=expected_version
        )
        return _result(self._call(self._stub.FullUpdate, request))

    def diff(
        self,
        upsert: Iterable[AnyEntity] = (),
        remove: Iterable[AnyEntity | tuple[str, str]] = (),
        *,
        expected_version: int | None = None,
    ) -> UpdateResult:
        """Change a part of the configuration.

        Args:
            upsert: entities to add, or to change if their type and name exist.
            remove: entities to remove, whole or as (type, name).
            expected_version: reject the request unless the configuration is at this version.

        Raises:
            EntityError: an entity was rejected; nothing was changed.
            InputError: the request is too large.
            RunError: there was no full update yet, the version is another one, or the control plane does not answer.
        """
        return self.send(diff_request(upsert, remove, expected_version))

    def send(self, request: pb.DiffRequest) -> UpdateResult:
        """Send a diff that `diff_request` made; raises the same as `diff`."""
        return _result(self._call(self._stub.Diff, request))

    def plan(
        self,
        upsert: Iterable[AnyEntity] = (),
        remove: Iterable[AnyEntity | tuple[str, str]] = (),
        *,
        expected_version: int | None = None,
        timeout: float = _REQUEST_TIMEOUT,
    ) -> Plan:
        """The changes that the same `diff` would make to entities and switches; nothing is changed.

        Returns:
            {"version", "added": [..], "changed": [..], "removed": [..], "switches": {name: {"added", ..}}}.

        Raises:
            As `diff`.
        """
        return cast("Plan", self._document(self._stub.Plan, diff_request(upsert, remove, expected_version), timeout))

    def entities(self, kind: str = "", timeout: float = _REQUEST_TIMEOUT) -> dict[str, Any]:
        """{"version", "entities": [{"type", "name", ..}]}: all entities, or those of one type."""
        return self._document(self._stub.List, pb.EntityRef(type=kind), timeout)

    def status(self, timeout: float = _REQUEST_TIMEOUT) -> PlaneStatus:
        """The control plane's status document; RunError if no answer comes within `timeout` seconds."""
        return cast("PlaneStatus", self._document(self._stub.Status, pb.Empty(), timeout))

    def offloads(self, timeout: float = _REQUEST_TIMEOUT) -> list[Offload]:
        """The VM pairs that use the direct path now: network, src, dst, src_host, dst_host, since, rate_bps."""
        document = json.loads(self._call(self._stub.Offloads, pb.Empty(), timeout=timeout).json)
        assert isinstance(document, list)
        return document

    def set_model(self, model: str) -> ModelBegun:
        """Change to another programming model: {"model", "from", "switching"}; see status() for its end.

        Raises:
            InputError: the model does not exist.
            RunError: another change is in progress, or the control plane does not answer.
        """
        return cast("ModelBegun", self._document(self._stub.SetModel, pb.SetModelRequest(model=model)))

    def set_offload(self, settings: pb.OffloadSettings) -> OffloadPolicyStatus:
        """Change the offload policy and its settings; return the document of the new one. Offloads stay.

        Raises:
            InputError: a value is wrong, or the policy's class cannot be used.
            RunError: the control plane does not answer.
        """
        return cast("OffloadPolicyStatus", self._document(self._stub.SetOffload, settings))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> FabricClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _document(self, method: Any, request: Any, timeout: float = _REQUEST_TIMEOUT) -> dict[str, Any]:
        document = json.loads(self._call(method, request, timeout=timeout).json)
        assert isinstance(document, dict)
        return document

    def _call(self, method: Any, request: Any, *, timeout: float = _REQUEST_TIMEOUT, wait: bool = False) -> Any:
        try:
            return method(request, timeout=timeout, wait_for_ready=wait)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            rejected = error_from_status(code, details)
            if rejected is not None:
                raise rejected from None
            raise RunError(
                f"the control plane does not answer: {_reason(code, details, timeout)}",
                where=self.address,
                next_step="check that the run is up (hoverboard status), and read its control plane's log",
            ) from None


def _reason(code: grpc.StatusCode, details: str, timeout: float) -> str:
    """Why a call failed, in one line. The texts of gRPC itself list addresses and attempts."""
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return "it is down, or restarts"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer after {timeout:g} s"
    first = details.strip().partition("\n")[0][:_MOST_DETAILS]
    return f"{code.name.lower().replace('_', ' ')}: {first}" if first else code.name.lower().replace("_", " ")


def diff_request(
    upsert: Iterable[AnyEntity] = (),
    remove: Iterable[AnyEntity | tuple[str, str]] = (),
    expected_version: int | None = None,
) -> pb.DiffRequest:
    """The message that `FabricClient.diff` sends."""
    return pb.DiffRequest(
        upsert=[encode_entity(entity) for entity in upsert],
        remove=[_reference(entity) for entity in remove],
        expected_version=expected_version,
    )


def _reference(entity: AnyEntity | tuple[str, str]) -> pb.EntityRef:
    kind, name = entity if isinstance(entity, tuple) else (entity.TYPE, entity.name)
    return pb.EntityRef(type=kind, name=name)


def _result(reply: pb.UpdateReply) -> UpdateResult:
    return UpdateResult(reply.version, reply.added, reply.changed, reply.removed, tuple(reply.switches))
