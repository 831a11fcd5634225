"""The data of the embedded store: keys with revisions, leases with deadlines, and watchers. Pure.

Times are arguments. Keys without a lease can be saved and restored, so that they survive a restart. Keys with a lease
end with the process that keeps the lease alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controllers.store.port import Entry, LeaseLost, Put

Watcher = Callable[[list[Entry]], None]


@dataclass(slots=True)
class _Lease:
    seconds: float
    deadline: float
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Value:
    entry: Entry
    lease: int


class MemoryStore:
    """Keys, leases, watchers.

    Attributes:
        revision: of the last write.
    """

    def __init__(self, first_lease: int = 1) -> None:
        self.revision = 0
        self._values: dict[str, _Value] = {}
        self._leases: dict[int, _Lease] = {}
        self._next_lease = first_lease
        self._watchers: dict[object, tuple[str, Watcher]] = {}

    def get(self, key: str) -> Entry | None:
        """One key, or None."""
        value = self._values.get(key)
        return value.entry if value is not None else None

    def items(self, prefix: str) -> list[Entry]:
        """All keys that begin with `prefix`, sorted."""
        return [self._values[key].entry for key in sorted(self._values) if key.startswith(prefix)]

    def commit(self, expect: Mapping[str, int], put: Mapping[str, Put], delete: Iterable[str] = ()) -> int | None:
        """Write and delete keys under conditions (see `port.Store.commit`)."""
        for lease in {write.lease for write in put.values()} - {0}:
            if lease not in self._leases:
                raise LeaseLost(f"there is no lease {lease}", where="store", next_step="take a new lease")
        for key, revision in expect.items():
            value = self._values.get(key)
            if (value.entry.revision if value is not None else 0) != revision:
                return None
        self.revision += 1
        changes = [self._put(key, write) for key, write in put.items()]
        changes += [gone for key in delete if (gone := self._delete(key)) is not None]
        self._notify(changes)
        return self.revision

    def watch(self, prefix: str, watcher: Watcher) -> object:
        """Call `watcher` now with all keys, and from now on with every change; return the token for `unwatch`."""
        token = object()
        self._watchers[token] = (prefix, watcher)
        watcher(self.items(prefix))
        return token

    def unwatch(self, token: object) -> None:
        """Stop a watch."""
        self._watchers.pop(token, None)

    def grant(self, seconds: float, now: float) -> int:
        """Grant a new lease; return its number."""
        lease, self._next_lease = self._next_lease, self._next_lease + 1
        self._leases[lease] = _Lease(seconds, now + seconds)
        return lease

    def keep(self, lease: int, now: float) -> bool:
        """Keep a lease alive; return False if it has ended."""
        held = self._leases.get(lease)
        if held is None:
            return False
        held.deadline = now + held.seconds
        return True

    def revoke(self, lease: int) -> None:
        """End a lease; does nothing if it has ended."""
        held = self._leases.pop(lease, None)
        if held is not None and held.keys:
            self.revision += 1
            self._notify([gone for key in sorted(held.keys) if (gone := self._delete(key)) is not None])

    def expire(self, now: float) -> None:
        """End the leases whose time is over."""
        for lease in [lease for lease, held in self._leases.items() if held.deadline <= now]:
            self.revoke(lease)

    def grace(self, seconds: float) -> None:
        """Extend every lease by the time for which the store was down."""
        for held in self._leases.values():
            held.deadline += seconds

    def lasting(self) -> dict[str, str]:
        """The keys without a lease, with their data."""
        return {key: str(value.entry.data) for key, value in self._values.items() if value.lease == 0}

    def _put(self, key: str, write: Put) -> Entry:
        self._unlease(key)
        entry = Entry(key, write.data, self.revision)
        self._values[key] = _Value(entry, write.lease)
        if write.lease:
            self._leases[write.lease].keys.add(key)
        return entry

    def _delete(self, key: str) -> Entry | None:
        self._unlease(key)
        return Entry(key, None, self.revision) if self._values.pop(key, None) is not None else None

    def _unlease(self, key: str) -> None:
        value = self._values.get(key)
        if value is not None and value.lease in self._leases:
            self._leases[value.lease].keys.discard(key)

    def _notify(self, changes: list[Entry]) -> None:
        for prefix, watcher in list(self._watchers.values()):
            mine = [change for change in changes if change.key.startswith(prefix)]
            if mine:
                watcher(mine)
