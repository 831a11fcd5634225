"""The flow table: one hash lookup gives a dense index into flat arrays (paper section 4.3).

The engines only read it. The control thread edits the hash table that the engines do not use (the shadow). It then
sends each engine a command to switch, waits for the confirmation, and repeats the edit on the other table. So no engine
takes a lock, and no packet meets a half-made entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.memory import entries
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets.parse import FIVE_TUPLE, Words, mix

Slots = NDArray[np.int32]
Key = tuple[int, ...]  # KEY_WORDS signed 64-bit words
_MASK = entries.HASH_SLOTS - 1


@compiled
def find(slots: Slots, table: int, keys: Words, key: Words, ports: int, five: int, hashed: int) -> int:
    """Index of the entry for 3-tuple `key`, refined by `ports` and the five bit, or -1. Mostly one probe."""
    at = hashed & _MASK
    first = key[0] | five
    second = key[2] | (ports >> 16) << 48
    third = key[3] | ports << 48
    while True:
        entry = slots[table, at]
        if entry == 0:
            return -1
        row = np.uintp(entry - 1)
        if (
            keys[row, 4] == key[4] and keys[row, 0] == first and keys[row, 2] == second and keys[row, 1] == key[1]
            and keys[row, 3] == third and keys[row, 7] == key[7] and keys[row, 6] == key[6] and keys[row, 5] == key[5]
        ):  # fmt: skip
            return entry - 1
        at = (at + 1) & _MASK


@compiled
def home_slot(keys: Words, row: int) -> int:
    """The slot where probing for stored entry `row` begins; its key already contains ports and five bit."""
    return mix(keys[row], 0, 0) & _MASK


@compiled
def insert(slots: Slots, table: int, keys: Words, row: int) -> None:
    """Point a free slot of `table` at entry `row`, whose key is already in `keys`."""
    at = home_slot(keys, row)
    while slots[table, at] != 0:
        at = (at + 1) & _MASK
    slots[table, at] = row + 1


@compiled
def erase(slots: Slots, table: int, keys: Words, row: int) -> None:
    """Remove entry `row` from `table`, and close the gap so that no probe stops early."""
    at = home_slot(keys, row)
    while slots[table, at] != row + 1:
        if slots[table, at] == 0:
            return
        at = (at + 1) & _MASK
    hole = at
    at = (at + 1) & _MASK
    while slots[table, at] != 0:
        other = slots[table, at] - 1
        # The entry may move into the hole unless its home slot lies cyclically behind the hole.
        if (at - home_slot(keys, other)) & _MASK >= (at - hole) & _MASK:
            slots[table, hole] = other + 1
            hole = at
        at = (at + 1) & _MASK
    slots[table, hole] = 0


@dataclass(frozen=True)
class Entry:
    """The treatment of packets with one key.

    Attributes:
        action: ACT_DROP, ACT_VPORT or ACT_TUNNEL.
        target: drop reason index, vport index, or peer index.
        rewrite: destination and source MAC (12 bytes), or b"" to keep them.
        template, checksum: outer headers for ACT_TUNNEL (see geneve.template).
        stages: STAGE_ bits; those of the receiving VM of this host are STAGE_NEXT bits higher.
        chain: number of the chain of coprocessor stages; 16 bits for each of the two VMs.
        sample: one packet in so many is sampled, if STAGE_SAMPLE is set; 16 bits for each of the two VMs.
    """

    action: int
    target: int
    rewrite: bytes = b""
    template: bytes = b""
    checksum: int = 0
    stages: int = 0
    chain: int = 0
    sample: int = 0


class _SharedRows:
    """Rows of an array to which entries point: one row for each distinct value in use. Row 0 is unused.

    Args:
        write: puts a value into a row.
    """

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        self._write = write
        self._used: dict[bytes, list[int]] = {}  # value -> [row, entries that use it]
        self._recycled: list[int] = []
        self._next_row = 1

    def take(self, value: bytes) -> int:
        """The row that holds `value`, with one more user; 0 for b""."""
        if not value:
            return 0
        if value in self._used:
            self._used[value][1] += 1
            return self._used[value][0]
        if self._recycled:
            row = self._recycled.pop()
        else:
            row = self._next_row
            self._next_row += 1
        self._write(row, value)
        self._used[value] = [row, 1]
        return row

    def release(self, value: bytes) -> None:
        """Remove one user of `value`. No engine may read that user's entry any more."""
        if value:
            self._used[value][1] -= 1
            if self._used[value][1] == 0:
                self._recycled.append(self._used.pop(value)[0])


def _signed32(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


class FlowTable:
    """The control thread's side of the table: add, replace and remove entries, and read statistics.

    Args:
        memories: of the engines that share the table.
        switch: makes all engines use (hash table, number of 5-tuple entries), and returns when they do.
    """

    def __init__(self, memories: tuple[Memory, ...], switch: Callable[[int, int], None]) -> None:
        self._m = memories[0]
        self._stats = [memory.stats for memory in memories]
        self._switch = switch
        self._table = 0
        self._rows: dict[Key, int] = {}
        self._recycled: list[int] = []
        self._next_row = 0
        self._before: dict[int, tuple[int, int]] = {}  # row -> statistics of the entry it replaced
        self._five = 0
        self._headers = _SharedRows(self._write_header)
        self._macs = _SharedRows(self._write_macs)
        self._shared: dict[int, tuple[bytes, bytes]] = {}  # row -> its outer headers, its MACs
        self.evicted = 0  # entries removed to make room
        self.aged = 0  # entries removed because they were idle

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    @property
    def capacity(self) -> int:
        """Entries that fit. A few rows stay free, because a replaced entry needs two rows for a moment."""
        return entries.MAX_ENTRIES - 512

    def update(self, add: Iterable[tuple[Key, Entry]] = (), remove: Iterable[Key] = ()) -> None:
        """Remove entries, then add or replace entries, as one step for the engines.

        A replaced entry gets a new row, because an engine may still read the old one. It keeps its statistics, so that
        usage is counted across a change of route.

        Raises:
            IndexError: there is no room for an added entry.
        """
        m = self._m
        gone = [(self._rows.pop(key), key) for key in remove if key in self._rows]
        fresh: list[int] = []
        carried: list[tuple[int, int]] = []
        for key, entry in add:
            old = self._rows.pop(key, None)
            if old is not None:
                gone.append((old, key))
            row = self._take_row()
            if old is not None:
                carried.append((old, row))
            self._write(row, key, entry)
            self._rows[key] = row
            fresh.append(row)
            self._five += key[0] & FIVE_TUPLE
        self._five -= sum(key[0] & FIVE_TUPLE for _, key in gone)
        if not gone and not fresh:
            return
        for _ in range(2):
            shadow = 1 - self._table
            for row, _key in gone:
                erase(m.slots, shadow, m.keys, row)
            for row in fresh:
                insert(m.slots, shadow, m.keys, row)
            self._table = shadow
            self._switch(shadow, self._five)  # tour: miss 8
        for old, row in carried:
            # Not in the row itself, because an engine may already count there.
            before = self._before.pop(old, (0, 0))
            counted = self._sum(old)
            self._before[row] = (before[0] + counted[0], before[1] + counted[1])
        for row, _key in gone:
            self._before.pop(row, None)
            template, macs = self._shared.pop(row)
            self._headers.release(template)
            self._macs.release(macs)
        self._recycled.extend(row for row, _key in gone)

    def _take_row(self) -> int:
        if self._recycled:
            return self._recycled.pop()
        if self._next_row == entries.MAX_ENTRIES:
            raise IndexError("flow table full")
        self._next_row += 1
        return self._next_row - 1

    def _write(self, row: int, key: Key, entry: Entry) -> None:
        m = self._m
        if len(key) != entries.KEY_WORDS:
            raise ValueError(f"a key has {entries.KEY_WORDS} words, not {len(key)}")
        m.keys[row] = key
        words = m.entries[row]
        words[entries.ACTION] = entry.action
        words[entries.TARGET] = entry.target
        words[entries.SUM] = entry.checksum
        words[entries.STAGES] = entry.stages
        words[entries.CHAIN] = _signed32(entry.chain)
        words[entries.SAMPLE] = _signed32(entry.sample)
        words[entries.HEADER] = self._headers.take(entry.template)
        words[entries.MACS] = self._macs.take(entry.rewrite)
        self._shared[row] = entry.template, entry.rewrite
        for stats in self._stats:
            stats[row] = 0

    def _write_header(self, row: int, value: bytes) -> None:
        self._m.headers[row, : len(value)] = np.frombuffer(value, np.uint8)

    def _write_macs(self, row: int, value: bytes) -> None:
        self._m.macs[row] = int.from_bytes(value[:6], "big"), int.from_bytes(value[6:], "big")

    def _sum(self, row: int) -> tuple[int, int]:
        return sum(int(stats[row, 0]) for stats in self._stats), sum(int(stats[row, 1]) for stats in self._stats)

    @property
    def used(self) -> int:
        """One past the highest row that was ever used: the part of the engines' stats that may be non-zero."""
        return self._next_row

    def keys_of(self, rows: Iterable[int]) -> dict[int, Key]:
        """The keys of the entries in these rows."""
        wanted = set(rows)
        return {row: key for key, row in self._rows.items() if row in wanted}

    def counted(self, key: Key) -> tuple[int, int]:
        """(packets, bytes) of one entry, summed over the engines."""
        row = self._rows[key]
        packets, octets = self._before.get(row, (0, 0))
        now = self._sum(row)
        return packets + now[0], octets + now[1]

    def carried(self, key: Key) -> tuple[int, int]:
        """(packets, bytes) of one entry from before its last replacement."""
        return self._before.get(self._rows[key], (0, 0))

    def target(self, key: Key) -> int:
        """The target of one entry: a row of peers[], a port, or a drop reason."""
        return int(self._m.entries[self._rows[key], entries.TARGET])

    def statistics(self) -> dict[Key, tuple[int, int, int, int]]:
        """{key: (action, target, packets, bytes)} of each entry."""
        words = self._m.entries
        return {
            key: (int(words[row, entries.ACTION]), int(words[row, entries.TARGET]), *self.counted(key))
            for key, row in self._rows.items()
        }


__all__ = ["Entry", "FlowTable", "Key", "erase", "find", "insert"]
