from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoreEntry(_message.Message):
    __slots__ = ("key", "data", "gone", "revision")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    key: str
    data: str
    gone: bool
    revision: int
    def __init__(self, key: _Optional[str] = ..., data: _Optional[str] = ..., gone: _Optional[bool] = ..., revision: _Optional[int] = ...) -> None: ...

class StoreQuery(_message.Message):
    __slots__ = ("key", "prefix")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    key: str
    prefix: bool
    def __init__(self, key: _Optional[str] = ..., prefix: _Optional[bool] = ...) -> None: ...

class StoreEntries(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[StoreEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[StoreEntry, _Mapping]]] = ...) -> None: ...

class StorePut(_message.Message):
    __slots__ = ("data", "lease")
    DATA_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    data: str
    lease: int
    def __init__(self, data: _Optional[str] = ..., lease: _Optional[int] = ...) -> None: ...

class StoreCommit(_message.Message):
    __slots__ = ("expect", "put", "delete")
    class ExpectEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class PutEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StorePut
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StorePut, _Mapping]] = ...) -> None: ...
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    expect: _containers.ScalarMap[str, int]
    put: _containers.MessageMap[str, StorePut]
    delete: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, expect: _Optional[_Mapping[str, int]] = ..., put: _Optional[_Mapping[str, StorePut]] = ..., delete: _Optional[_Iterable[str]] = ...) -> None: ...

class StoreCommitted(_message.Message):
    __slots__ = ("revision", "lease_lost")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LEASE_LOST_FIELD_NUMBER: _ClassVar[int]
    revision: int
    lease_lost: bool
    def __init__(self, revision: _Optional[int] = ..., lease_lost: _Optional[bool] = ...) -> None: ...

class StoreLease(_message.Message):
    __slots__ = ("lease", "seconds")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    lease: int
    seconds: float
    def __init__(self, lease: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class StoreNothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
