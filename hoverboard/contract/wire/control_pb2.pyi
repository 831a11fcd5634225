from hoverboard.contract.wire import fabric_pb2 as _fabric_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ControllerHello(_message.Message):
    __slots__ = ("partition", "replica", "pid")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    partition: int
    replica: int
    pid: int
    def __init__(self, partition: _Optional[int] = ..., replica: _Optional[int] = ..., pid: _Optional[int] = ...) -> None: ...

class Standing(_message.Message):
    __slots__ = ("master", "term")
    MASTER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    master: bool
    term: int
    def __init__(self, master: _Optional[bool] = ..., term: _Optional[int] = ...) -> None: ...

class Applied(_message.Message):
    __slots__ = ("number", "switches", "version")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    number: int
    switches: _containers.RepeatedScalarFieldContainer[str]
    version: int
    def __init__(self, number: _Optional[int] = ..., switches: _Optional[_Iterable[str]] = ..., version: _Optional[int] = ...) -> None: ...

class Reached(_message.Message):
    __slots__ = ("number", "stage")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    number: int
    stage: str
    def __init__(self, number: _Optional[int] = ..., stage: _Optional[str] = ...) -> None: ...

class ControllerReport(_message.Message):
    __slots__ = ("hello", "standing", "applied", "answer", "reached")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    hello: ControllerHello
    standing: Standing
    applied: Applied
    answer: Answer
    reached: Reached
    def __init__(self, hello: _Optional[_Union[ControllerHello, _Mapping]] = ..., standing: _Optional[_Union[Standing, _Mapping]] = ..., applied: _Optional[_Union[Applied, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., reached: _Optional[_Union[Reached, _Mapping]] = ...) -> None: ...

class FabricPart(_message.Message):
    __slots__ = ("version", "full", "last", "upsert", "remove", "number")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    UPSERT_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    version: int
    full: bool
    last: bool
    upsert: _containers.RepeatedCompositeFieldContainer[_fabric_pb2.Entity]
    remove: _containers.RepeatedCompositeFieldContainer[_fabric_pb2.EntityRef]
    number: int
    def __init__(self, version: _Optional[int] = ..., full: _Optional[bool] = ..., last: _Optional[bool] = ..., upsert: _Optional[_Iterable[_Union[_fabric_pb2.Entity, _Mapping]]] = ..., remove: _Optional[_Iterable[_Union[_fabric_pb2.EntityRef, _Mapping]]] = ..., number: _Optional[int] = ...) -> None: ...

class ModelOrder(_message.Message):
    __slots__ = ("number", "model", "stage")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    number: int
    model: str
    stage: str
    def __init__(self, number: _Optional[int] = ..., model: _Optional[str] = ..., stage: _Optional[str] = ...) -> None: ...

class OffloadOrder(_message.Message):
    __slots__ = ("number", "settings")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    number: int
    settings: _fabric_pb2.OffloadSettings
    def __init__(self, number: _Optional[int] = ..., settings: _Optional[_Union[_fabric_pb2.OffloadSettings, _Mapping]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("id", "what")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    id: int
    what: str
    def __init__(self, id: _Optional[int] = ..., what: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("id", "json")
    ID_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    id: int
    json: str
    def __init__(self, id: _Optional[int] = ..., json: _Optional[str] = ...) -> None: ...

class Suspect(_message.Message):
    __slots__ = ("term",)
    TERM_FIELD_NUMBER: _ClassVar[int]
    term: int
    def __init__(self, term: _Optional[int] = ...) -> None: ...

class FabricUpdate(_message.Message):
    __slots__ = ("part", "ask", "suspect", "model", "offload", "applied")
    PART_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OFFLOAD_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    part: FabricPart
    ask: Ask
    suspect: Suspect
    model: ModelOrder
    offload: OffloadOrder
    applied: int
    def __init__(self, part: _Optional[_Union[FabricPart, _Mapping]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ..., suspect: _Optional[_Union[Suspect, _Mapping]] = ..., model: _Optional[_Union[ModelOrder, _Mapping]] = ..., offload: _Optional[_Union[OffloadOrder, _Mapping]] = ..., applied: _Optional[int] = ...) -> None: ...

class SwitchRef(_message.Message):
    __slots__ = ("dpid", "session")
    DPID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    dpid: int
    session: int
    def __init__(self, dpid: _Optional[int] = ..., session: _Optional[int] = ...) -> None: ...

class SwitchPorts(_message.Message):
    __slots__ = ("switch", "ports")
    class PortsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    switch: SwitchRef
    ports: _containers.ScalarMap[str, int]
    def __init__(self, switch: _Optional[_Union[SwitchRef, _Mapping]] = ..., ports: _Optional[_Mapping[str, int]] = ...) -> None: ...

class PortChange(_message.Message):
    __slots__ = ("switch", "name", "port", "gone")
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    switch: SwitchRef
    name: str
    port: int
    gone: bool
    def __init__(self, switch: _Optional[_Union[SwitchRef, _Mapping]] = ..., name: _Optional[str] = ..., port: _Optional[int] = ..., gone: _Optional[bool] = ...) -> None: ...

class AgentEvent(_message.Message):
    __slots__ = ("node", "event", "gone")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    node: str
    event: _fabric_pb2.HostEvent
    gone: bool
    def __init__(self, node: _Optional[str] = ..., event: _Optional[_Union[_fabric_pb2.HostEvent, _Mapping]] = ..., gone: _Optional[bool] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("id", "refused", "where", "next_step", "deposed", "flows", "more")
    ID_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    DEPOSED_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    id: int
    refused: str
    where: str
    next_step: str
    deposed: bool
    flows: str
    more: bool
    def __init__(self, id: _Optional[int] = ..., refused: _Optional[str] = ..., where: _Optional[str] = ..., next_step: _Optional[str] = ..., deposed: _Optional[bool] = ..., flows: _Optional[str] = ..., more: _Optional[bool] = ...) -> None: ...

class PacketInEvent(_message.Message):
    __slots__ = ("switch", "in_port", "cookie", "frame")
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    IN_PORT_FIELD_NUMBER: _ClassVar[int]
    COOKIE_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    switch: SwitchRef
    in_port: int
    cookie: int
    frame: bytes
    def __init__(self, switch: _Optional[_Union[SwitchRef, _Mapping]] = ..., in_port: _Optional[int] = ..., cookie: _Optional[int] = ..., frame: _Optional[bytes] = ...) -> None: ...

class FrontEndEvent(_message.Message):
    __slots__ = ("connected", "subscribed", "gone", "port", "agent", "done", "packet_in")
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PACKET_IN_FIELD_NUMBER: _ClassVar[int]
    connected: SwitchRef
    subscribed: SwitchPorts
    gone: SwitchRef
    port: PortChange
    agent: AgentEvent
    done: Done
    packet_in: PacketInEvent
    def __init__(self, connected: _Optional[_Union[SwitchRef, _Mapping]] = ..., subscribed: _Optional[_Union[SwitchPorts, _Mapping]] = ..., gone: _Optional[_Union[SwitchRef, _Mapping]] = ..., port: _Optional[_Union[PortChange, _Mapping]] = ..., agent: _Optional[_Union[AgentEvent, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., packet_in: _Optional[_Union[PacketInEvent, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("partition", "replica")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    partition: int
    replica: int
    def __init__(self, partition: _Optional[int] = ..., replica: _Optional[int] = ...) -> None: ...

class Term(_message.Message):
    __slots__ = ("partition", "term")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    partition: int
    term: int
    def __init__(self, partition: _Optional[int] = ..., term: _Optional[int] = ...) -> None: ...

class Subscribe(_message.Message):
    __slots__ = ("dpid",)
    DPID_FIELD_NUMBER: _ClassVar[int]
    dpid: int
    def __init__(self, dpid: _Optional[int] = ...) -> None: ...

class ProgramRequest(_message.Message):
    __slots__ = ("id", "switch", "term", "deletes", "adds")
    ID_FIELD_NUMBER: _ClassVar[int]
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    DELETES_FIELD_NUMBER: _ClassVar[int]
    ADDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    switch: SwitchRef
    term: Term
    deletes: str
    adds: str
    def __init__(self, id: _Optional[int] = ..., switch: _Optional[_Union[SwitchRef, _Mapping]] = ..., term: _Optional[_Union[Term, _Mapping]] = ..., deletes: _Optional[str] = ..., adds: _Optional[str] = ...) -> None: ...

class DumpRequest(_message.Message):
    __slots__ = ("id", "switch", "term")
    ID_FIELD_NUMBER: _ClassVar[int]
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    id: int
    switch: SwitchRef
    term: Term
    def __init__(self, id: _Optional[int] = ..., switch: _Optional[_Union[SwitchRef, _Mapping]] = ..., term: _Optional[_Union[Term, _Mapping]] = ...) -> None: ...

class PacketOutRequest(_message.Message):
    __slots__ = ("switch", "term", "in_port", "frame")
    SWITCH_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    IN_PORT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    switch: SwitchRef
    term: Term
    in_port: int
    frame: bytes
    def __init__(self, switch: _Optional[_Union[SwitchRef, _Mapping]] = ..., term: _Optional[_Union[Term, _Mapping]] = ..., in_port: _Optional[int] = ..., frame: _Optional[bytes] = ...) -> None: ...

class FrontEndRequest(_message.Message):
    __slots__ = ("hello", "term", "subscribe", "program", "dump", "close", "packet_out")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    DUMP_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    PACKET_OUT_FIELD_NUMBER: _ClassVar[int]
    hello: Candidate
    term: Term
    subscribe: Subscribe
    program: ProgramRequest
    dump: DumpRequest
    close: SwitchRef
    packet_out: PacketOutRequest
    def __init__(self, hello: _Optional[_Union[Candidate, _Mapping]] = ..., term: _Optional[_Union[Term, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., program: _Optional[_Union[ProgramRequest, _Mapping]] = ..., dump: _Optional[_Union[DumpRequest, _Mapping]] = ..., close: _Optional[_Union[SwitchRef, _Mapping]] = ..., packet_out: _Optional[_Union[PacketOutRequest, _Mapping]] = ...) -> None: ...
