from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Entity(_message.Message):
    __slots__ = ("type", "json")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    type: str
    json: str
    def __init__(self, type: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class EntityRef(_message.Message):
    __slots__ = ("type", "name")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    type: str
    name: str
    def __init__(self, type: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class FullUpdateRequest(_message.Message):
    __slots__ = ("entities", "expected_version")
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    entities: _containers.RepeatedCompositeFieldContainer[Entity]
    expected_version: int
    def __init__(self, entities: _Optional[_Iterable[_Union[Entity, _Mapping]]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class DiffRequest(_message.Message):
    __slots__ = ("upsert", "remove", "expected_version")
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    upsert: _containers.RepeatedCompositeFieldContainer[Entity]
    remove: _containers.RepeatedCompositeFieldContainer[EntityRef]
    expected_version: int
    def __init__(self, upsert: _Optional[_Iterable[_Union[Entity, _Mapping]]] = ..., remove: _Optional[_Iterable[_Union[EntityRef, _Mapping]]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class UpdateReply(_message.Message):
    __slots__ = ("version", "added", "changed", "removed", "switches")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    version: int
    added: int
    changed: int
    removed: int
    switches: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., added: _Optional[int] = ..., changed: _Optional[int] = ..., removed: _Optional[int] = ..., switches: _Optional[_Iterable[str]] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Json(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: str
    def __init__(self, json: _Optional[str] = ...) -> None: ...

class SetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class OffloadSettings(_message.Message):
    __slots__ = ("threshold_bps", "keep_bps", "minimum_lifetime", "idle_expiry", "budget", "policy")
    THRESHOLD_BPS_FIELD_NUMBER: _ClassVar[int]
    KEEP_BPS_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_LIFETIME_FIELD_NUMBER: _ClassVar[int]
    IDLE_EXPIRY_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    threshold_bps: float
    keep_bps: float
    minimum_lifetime: float
    idle_expiry: float
    budget: int
    policy: str
    def __init__(self, threshold_bps: _Optional[float] = ..., keep_bps: _Optional[float] = ..., minimum_lifetime: _Optional[float] = ..., idle_expiry: _Optional[float] = ..., budget: _Optional[int] = ..., policy: _Optional[str] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("vm", "vport")
    VM_FIELD_NUMBER: _ClassVar[int]
    VPORT_FIELD_NUMBER: _ClassVar[int]
    vm: str
    vport: str
    def __init__(self, vm: _Optional[str] = ..., vport: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("node", "bindings", "dpid")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    DPID_FIELD_NUMBER: _ClassVar[int]
    node: str
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    dpid: int
    def __init__(self, node: _Optional[str] = ..., bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., dpid: _Optional[int] = ...) -> None: ...

class Bound(_message.Message):
    __slots__ = ("binding", "gone")
    BINDING_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    binding: Binding
    gone: bool
    def __init__(self, binding: _Optional[_Union[Binding, _Mapping]] = ..., gone: _Optional[bool] = ...) -> None: ...

class FlowUsage(_message.Message):
    __slots__ = ("vni", "src", "dst", "bytes", "packets")
    VNI_FIELD_NUMBER: _ClassVar[int]
    SRC_FIELD_NUMBER: _ClassVar[int]
    DST_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    vni: int
    src: bytes
    dst: bytes
    bytes: int
    packets: int
    def __init__(self, vni: _Optional[int] = ..., src: _Optional[bytes] = ..., dst: _Optional[bytes] = ..., bytes: _Optional[int] = ..., packets: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("seconds", "flows")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    flows: _containers.RepeatedCompositeFieldContainer[FlowUsage]
    def __init__(self, seconds: _Optional[float] = ..., flows: _Optional[_Iterable[_Union[FlowUsage, _Mapping]]] = ...) -> None: ...

class HostEvent(_message.Message):
    __slots__ = ("hello", "bound", "usage")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    bound: Bound
    usage: Usage
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., bound: _Optional[_Union[Bound, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class HostCommand(_message.Message):
    __slots__ = ("report_interval", "report_relayed")
    REPORT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    REPORT_RELAYED_FIELD_NUMBER: _ClassVar[int]
    report_interval: float
    report_relayed: bool
    def __init__(self, report_interval: _Optional[float] = ..., report_relayed: _Optional[bool] = ...) -> None: ...
