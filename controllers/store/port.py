"""The interface of the store: what the adapters `store.remote` (embedded) and `store.etcd` both do.

Every write has a revision, larger than all before; a value's revision is that of its last write, 0
stands for "not there". A lease that is not kept alive ends and takes its keys with it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hoverboard.contract.errors import HoverboardError


class StoreError(HoverboardError):
    """The store does not answer; nothing is known of what became of the request."""


class LeaseLost(StoreError):
    """The lease has ended: its keys are gone, or will be at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key; `data` is None and `revision` that of the removal where a watch tells of one."""

    key: str
    data: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """A write; `lease` is one of `Store.lease`, 0 for a key that stays."""

    data: str
    lease: int = 0


class Store(Protocol):
    """A connection to the store; may be used by one event loop.

    Every method raises StoreError when the store does not answer.
    """

    async def get(self, key: str) -> Entry | None:
        """One key, or None."""
        ...

    async def items(self, prefix: str) -> list[Entry]:
        """All keys that begin with `prefix`, sorted."""
        ...

    async def commit(self, expect: Mapping[str, int], put: Mapping[str, Put], delete: Iterable[str] = ()) -> int | None:
        """Write and delete, all of it or nothing: only if each key of `expect` has that revision (0: absent).

        Returns:
            The revision of the write, or None: something was not as expected.

        Raises:
            LeaseLost: a lease named is not there.
        """
        ...

    def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        """First all keys there are (perhaps none), then every change in order, in lists of one request each."""
        ...

    async def lease(self, seconds: float, lost: Callable[[], None]) -> int:
        """A new lease that is kept alive until `revoke` or `close`; `lost` is called once should it end before.

        An adapter may make it longer: etcd has whole seconds. While the store does not answer nothing is lost.
        """
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease; its keys go at once."""
        ...

    async def close(self) -> None:
        """End the connection; leases are not kept alive any longer."""
        ...
