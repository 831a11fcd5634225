"""The flow-table entries that wait to be revalidated, and those whose answer is from a switch that is gone. Pure.

When a switch restarts, it is empty until its program is back. An answer from before the restart is kept until the new
switch has a program for the packet (fail static, paper 3.5). Any other entry follows the switch at once, also to "no
flow matches".
"""

from __future__ import annotations

from collections.abc import Iterable

from hoverboard.fastpath.packets.flow_table import Key


class StaleEntries:
    """The keys of stale entries, in the order in which they are revalidated, each once."""

    def __init__(self) -> None:
        self._waiting: dict[Key, None] = {}
        self._inherited: set[Key] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def inherit(self, keys: Iterable[Key]) -> None:
        """Mark all entries: the switch or the process that answered has gone."""
        self._waiting = dict.fromkeys(keys)
        self._inherited = set(self._waiting)

    def add(self, keys: Iterable[Key]) -> None:
        """Mark entries that are to be revalidated when there is time."""
        self._waiting.update(dict.fromkeys(keys))

    def program_changed(self) -> None:
        """Mark all inherited answers again: any change may be the return of their program."""
        self.add(self._inherited)

    def is_inherited(self, key: Key) -> bool:
        """Whether the switch that runs now has not yet had a program for this entry's packet."""
        return key in self._inherited

    def take(self, most: int) -> list[Key]:
        """Up to `most` stale entries, the first ones; they stay marked until `traced` or `forget`."""
        return [key for key, _ in zip(self._waiting, range(most), strict=False)]

    def traced(self, key: Key, *, programmed: bool) -> None:
        """Note that the switch answered for an entry; `programmed`: it has a program for the packet."""
        self._waiting.pop(key, None)
        if programmed:
            self._inherited.discard(key)

    def forget(self, key: Key) -> None:
        """Forget an entry that is removed or new."""
        self.traced(key, programmed=True)
