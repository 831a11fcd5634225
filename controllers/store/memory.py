"""The embedded store's data: keys with revisions, leases with deadlines, and who watches. Pure.

Times come in as arguments. Keys without a lease can be written down and taken in again, so that a
restart does not forget them; keys of a lease end with the process that kept them.
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
        """See `port.Store.commit`."""
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
        """Tell `watcher` what is there, now, and every change from now on; returns what `unwatch` takes."""
        token = object()
        self._watchers[token] = (prefix, watcher)
        watcher(self.items(prefix))
        return token

    def unwatch(self, token: object) -> None:
        """Tell no more."""
        self._watchers.pop(token, None)

    def grant(self, seconds: float, now: float) -> int:
        """A new lease."""
        lease, self._next_lease = self._next_lease, self._next_lease + 1
        self._leases[lease] = _Lease(seconds, now + seconds)
        return lease

    def keep(self, lease: int, now: float) -> bool:
        """Keep a lease alive; False: it is over."""
        held = self._leases.get(lease)
        if held is None:
            return False
        held.deadline = now + held.seconds
        return True

    def revoke(self, lease: int) -> None:
        """End a lease; harmless when it is over."""
        held = self._leases.pop(lease, None)
        if held is not None and held.keys:
            self.revision += 1
            self._notify([gone for key in sorted(held.keys) if (gone := self._delete(key)) is not None])

    def expire(self, now: float) -> None:
        """End the leases whose time is over."""
        for lease in [lease for lease, held in self._leases.items() if held.deadline <= now]:
            self.revoke(lease)

    def grace(self, seconds: float) -> None:
        """The store itself was away so long, and could hear nobody: nobody's lease ends for that."""
        for held in self._leases.values():
            held.deadline += seconds

    def lasting(self) -> dict[str, str]:
        """The keys that no lease holds."""
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
