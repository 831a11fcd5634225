"""The flow table: one hash lookup to a dense index, flat arrays by that index (paper section 4.3).

The engine only reads it. The control thread edits the hash table that the engine does not use (the
shadow), has the engine switch, waits until it has, and repeats the edit on the other one. So the
engine takes no lock and no packet meets a half-made entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiler import compiled
from hoverboard.fastpath.layout import (
    ACT_DROP,
    ACT_TUNNEL,
    ACT_VPORT,
    CTL_FIVE,
    CTL_TABLE,
    HASH_SLOTS,
    KEY_WORDS,
    MAX_ENTRIES,
    Memory,
)
from hoverboard.fastpath.packet import FIVE, Words, mix

Slots = NDArray[np.int32]
Key = tuple[int, ...]  # KEY_WORDS signed 64-bit words


@compiled
def find(slots: Slots, table: int, keys: Words, key: Words, ports: int, five: int, hashed: int) -> int:
    """Index of the entry for `key` with `ports` and the five bit, or -1. One probe as a rule."""
    mask = HASH_SLOTS - 1
    at = hashed & mask
    first = key[0] | five
    while True:
        entry = slots[table, at]
        if entry == 0:
            return -1
        row = entry - 1
        if (
            keys[row, 4] == key[4] and keys[row, 0] == first and keys[row, 5] == ports and keys[row, 1] == key[1]
            and keys[row, 2] == key[2] and keys[row, 3] == key[3]
        ):  # fmt: skip
            return row
        at = (at + 1) & mask


@compiled
def insert(slots: Slots, table: int, keys: Words, row: int) -> None:
    """Point a free slot of `table` at entry `row`, whose key is already in `keys`."""
    mask = HASH_SLOTS - 1
    at = mix(keys[row], keys[row, 5], 0) & mask
    while slots[table, at] != 0:
        at = (at + 1) & mask
    slots[table, at] = row + 1


@compiled
def erase(slots: Slots, table: int, keys: Words, row: int) -> None:
    """Take entry `row` out of `table`, closing the gap so that no probe stops early."""
    mask = HASH_SLOTS - 1
    at = mix(keys[row], keys[row, 5], 0) & mask
    while slots[table, at] != row + 1:
        if slots[table, at] == 0:
            return
        at = (at + 1) & mask
    hole = at
    at = (at + 1) & mask
    while slots[table, at] != 0:
        other = slots[table, at] - 1
        home = mix(keys[other], keys[other, 5], 0) & mask
        # The entry may move into the hole unless its home lies cyclically behind the hole.
        if (at - home) & mask >= (at - hole) & mask:
            slots[table, hole] = other + 1
            hole = at
        at = (at + 1) & mask
    slots[table, hole] = 0


@dataclass(frozen=True)
class Entry:
    """What the engine does with packets of one key.

    Attributes:
        action: ACT_DROP, ACT_VPORT or ACT_TUNNEL.
        target: drop reason index, vport index, or peer index.
        rewrite: destination and source MAC (12 bytes), or b"" to leave them.
        template, checksum: outer headers for ACT_TUNNEL (see geneve.template).
    """

    action: int
    target: int
    rewrite: bytes = b""
    template: bytes = b""
    checksum: int = 0


class FlowTable:
    """The control thread's side: add, replace, remove, read statistics.

    Args:
        memory: the engine's arrays.
        switch: makes the engine use what ctl[] now says and returns once it does.
    """

    def __init__(self, memory: Memory, switch: Callable[[], None]) -> None:
        self._m = memory
        self._switch = switch
        self._rows: dict[Key, int] = {}
        self._free = list(range(MAX_ENTRIES - 1, -1, -1))
        self._before: dict[int, tuple[int, int]] = {}  # row -> statistics of the entry it replaced
        self._five = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    @property
    def capacity(self) -> int:
        """Entries that fit; a few rows are kept free, because a replaced entry needs two for a moment."""
        return MAX_ENTRIES - 512

    def update(self, add: Iterable[tuple[Key, Entry]] = (), remove: Iterable[Key] = ()) -> None:
        """Remove, then add or replace, as one step for the engine; an added key must find room.

        A replaced entry gets a new row: the engine may still be reading the old one. Its statistics
        move along, so that usage is counted across a change of route.
        """
        m = self._m
        gone = [(self._rows.pop(key), key) for key in remove if key in self._rows]
        fresh: list[int] = []
        carried: list[tuple[int, int]] = []
        for key, entry in add:
            old = self._rows.pop(key, None)
            if old is not None:
                gone.append((old, key))
            if not self._free:
                raise IndexError("flow table full")
            row = self._free.pop()
            if old is not None:
                carried.append((old, row))
            self._write(row, key, entry)
            self._rows[key] = row
            fresh.append(row)
            self._five += key[0] & FIVE
        self._five -= sum(key[0] & FIVE for _, key in gone)
        if not gone and not fresh:
            return
        for _ in range(2):
            shadow = 1 - int(m.ctl[CTL_TABLE])
            for row, _key in gone:
                erase(m.slots, shadow, m.keys, row)
            for row in fresh:
                insert(m.slots, shadow, m.keys, row)
            m.ctl[CTL_TABLE] = shadow
            m.ctl[CTL_FIVE] = self._five
            self._switch()
        for old, row in carried:
            # Kept beside the row, because the engine may already be counting in it.
            before = self._before.pop(old, (0, 0))
            self._before[row] = (before[0] + int(m.entry_packets[old]), before[1] + int(m.entry_bytes[old]))
        for row, _key in gone:
            self._before.pop(row, None)
        self._free.extend(row for row, _key in gone)

    def _write(self, row: int, key: Key, entry: Entry) -> None:
        m = self._m
        if len(key) != KEY_WORDS:
            raise ValueError(f"a key has {KEY_WORDS} words, not {len(key)}")
        m.keys[row] = key
        m.entry_action[row] = entry.action
        m.entry_port[row] = entry.target
        m.entry_peer[row] = entry.target if entry.action == ACT_TUNNEL else 0
        m.entry_rewrite[row, 0] = bool(entry.rewrite)
        if entry.rewrite:
            m.entry_rewrite[row, 1:] = np.frombuffer(entry.rewrite, np.uint8)
        if entry.template:
            m.entry_template[row] = np.frombuffer(entry.template, np.uint8)
        m.entry_sum[row] = entry.checksum
        m.entry_packets[row] = 0
        m.entry_bytes[row] = 0

    def counted(self, key: Key) -> tuple[int, int]:
        """(packets, bytes) of one entry."""
        row = self._rows[key]
        packets, octets = self._before.get(row, (0, 0))
        return packets + int(self._m.entry_packets[row]), octets + int(self._m.entry_bytes[row])

    def statistics(self) -> dict[Key, tuple[int, int, int, int]]:
        """{key: (action, target, packets, bytes)} of every entry."""
        m = self._m
        result = {}
        for key, row in self._rows.items():
            result[key] = (int(m.entry_action[row]), int(m.entry_port[row]), *self.counted(key))
        return result


__all__ = ["ACT_DROP", "ACT_TUNNEL", "ACT_VPORT", "Entry", "FlowTable", "Key", "erase", "find", "insert"]
