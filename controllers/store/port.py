"""The interface of the store, with two adapters: `store.remote` (embedded) and `store.etcd`.

Every write has a revision, larger than all before. The revision of a key is that of its last write; 0 stands for an
absent key. A lease that is not kept alive ends, and its keys are deleted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hoverboard.contract.errors import HoverboardError


class StoreError(HoverboardError):
    """The store does not answer; the result of the request is unknown."""


class LeaseLost(StoreError):
    """The lease has ended: its keys are deleted, or will be at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. For a removal, which only a watch reports, `data` is None and `revision` is that of the removal."""

    key: str
    data: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """A write; `lease` is a number from `Store.lease`, or 0 for a key that stays."""

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
            The revision of the write, or None if a key has another revision.

        Raises:
            LeaseLost: a lease of the request does not exist.
        """
        ...

    def watch(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        """Yield all present keys (perhaps none), then every change in order, one list per request."""
        ...

    async def lease(self, seconds: float, lost: Callable[[], None]) -> int:
        """Take a new lease, and keep it alive until `revoke` or `close`; `lost` is called once if it ends before.

        An adapter may make it longer: etcd has whole seconds. No lease ends here while the store does not answer.
        """
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease; its keys are deleted at once."""
        ...

    async def close(self) -> None:
        """End the connection; its leases are no longer kept alive."""
        ...
